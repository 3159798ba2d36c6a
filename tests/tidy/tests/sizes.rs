//! The size ratchet of style.md section 12: rooms and stories stay short enough to be read.

use syn::spanned::Spanned as _;
use syn::visit::Visit;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;

struct Functions<'a> {
    path: &'a str,
    found: Vec<(usize, String)>,
}

impl Functions<'_> {
    fn note(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        self.found.push((lines, format!("{}:{} {name}", self.path, span.start().line)));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let test = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !test {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_flat_match(&function.block) {
            self.note(&function.sig.ident, function.block.span());
        }
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_flat_match(&function.block) {
            self.note(&function.sig.ident, function.block.span());
        }
        syn::visit::visit_impl_item_fn(self, function);
    }
}

/// One `match` and nothing else: a table, exempt.
fn is_flat_match(block: &syn::Block) -> bool {
    matches!(&block.stmts[..], [syn::Stmt::Expr(syn::Expr::Match(_), _)])
}

#[test]
fn no_function_is_longer_than_seventy_lines() {
    let mut functions = Vec::new();
    for (path, text) in tidy::sources() {
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut visitor = Functions { path: &path, found: Vec::new() };
        visitor.visit_file(&file);
        functions.extend(visitor.found);
    }
    functions.sort_by(|a, b| b.cmp(a));
    println!("the ten longest functions:");
    for (lines, name) in functions.iter().take(10) {
        println!("{lines:5} {name}");
    }
    let long: Vec<_> = functions.iter().filter(|(lines, _)| FUNCTION_LINES_MAX < *lines).collect();
    assert!(long.is_empty(), "longer than {FUNCTION_LINES_MAX} lines: {long:#?}");
}

#[test]
fn no_file_is_longer_than_seven_hundred_lines() {
    let mut files = Vec::new();
    for (path, text) in tidy::sources() {
        // Unit tests at the end of a file are not counted.
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        files.push((lines, path));
    }
    files.sort_by(|a, b| b.cmp(a));
    println!("the ten longest files:");
    for (lines, path) in files.iter().take(10) {
        println!("{lines:5} {path}");
    }
    let long: Vec<_> = files.iter().filter(|(lines, _)| FILE_LINES_MAX < *lines).collect();
    assert!(long.is_empty(), "longer than {FILE_LINES_MAX} lines: {long:#?}");
}
