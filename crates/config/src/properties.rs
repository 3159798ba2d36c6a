//! Properties of lexer and parser: what is printed reads back as the same tree, and no bytes make them panic or dawdle.

use proptest::prelude::*;

use crate::bounds::Bounds;
use crate::diagnostics::Reports;
use crate::lexer::{Lexer, TokenKind};
use crate::parser::{DEPTH_MAX, Parsed, parse};
use crate::tree::{Assignment, Conditional, Include, Item, Quote, Scalar, Span, Stanza, Value, ValueKind, Word};

/// A tree as text, one item a line.
fn print(items: &[Item], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for item in items {
        match item {
            Item::Option(Assignment { name, value }) => {
                out.push_str(&format!("{indent}{} = {}\n", name.text, value.source()))
            }
            Item::Include(Include { word, target, .. }) => {
                out.push_str(&format!("{indent}{} {}\n", word.text, target.source()))
            }
            Item::Stanza(Stanza { word, name, body, .. }) => print_braced(word, name.as_ref(), body, depth, out),
            Item::Conditional(Conditional { word, condition, body, .. }) => {
                print_braced(word, Some(condition), body, depth, out)
            }
        }
    }
}

fn print_braced(word: &Word, name: Option<&Scalar>, body: &[Item], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let name = name.map_or(String::new(), |name| format!(" {}", name.source()));
    out.push_str(&format!("{indent}{}{name} {{\n", word.text));
    print(body, depth + 1, out);
    out.push_str(&format!("{indent}}}\n"));
}

fn printed(items: &[Item]) -> String {
    let mut out = String::new();
    print(items, 0, &mut out);
    out
}

/// The tree without its places.
fn shape(items: &[Item]) -> Vec<Item> {
    let scalar = |scalar: &Scalar| Scalar::new(scalar.raw(), scalar.quote(), Span::default());
    let word = |word: &Word| Word { text: word.text.clone(), span: Span::default() };
    let value = |value: &Value| Value {
        span: Span::default(),
        kind: match &value.kind {
            ValueKind::Scalar(one) => ValueKind::Scalar(scalar(one)),
            ValueKind::Array(all) => ValueKind::Array(all.iter().map(scalar).collect()),
            ValueKind::Dict(pairs) => ValueKind::Dict(pairs.iter().map(|(k, v)| (scalar(k), scalar(v))).collect()),
        },
    };
    let one = |item: &Item| match item {
        Item::Option(own) => Item::Option(Assignment { name: word(&own.name), value: value(&own.value) }),
        Item::Include(own) => {
            Item::Include(Include { word: word(&own.word), target: scalar(&own.target), items: shape(&own.items) })
        }
        Item::Stanza(own) => {
            let (name, body) = (own.name.as_ref().map(scalar), shape(&own.body));
            Item::Stanza(Stanza { word: word(&own.word), name, body, braces: Span::default() })
        }
        Item::Conditional(own) => {
            let (condition, body) = (scalar(&own.condition), shape(&own.body));
            Item::Conditional(Conditional {
                word: word(&own.word),
                condition,
                holds: false,
                body,
                braces: Span::default(),
            })
        }
    };
    items.iter().map(one).collect()
}

fn any_plain_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof!["[A-Za-z0-9_.:*-]{1,12}", "\\PC{0,12}", "[ -~\r\n\t]{0,12}"].prop_map(|text| Scalar::from_text(&text))
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    let quoted = |quote| move |raw: String| Scalar::new(&raw, quote, Span::default());
    prop_oneof![
        4 => any_plain_scalar(),
        1 => "[^'\\pC]{0,12}".prop_map(quoted(Quote::Single)),
        1 => r"[A-Z_][A-Z0-9_]{0,5}(\.\.\.)?(:-[a-z0-9 #=/(.]{0,8})?|file:[a-z/.]{1,9}".prop_map(quoted(Quote::Reference)),
        1 => r#"([ -!#%-\[\]-~]|\\[rnt"$\\d]|\$\{[A-Z]{1,3}(:-[a-z ]{0,4})?\}){0,8}"#.prop_map(quoted(Quote::Interpolated)),
    ]
}

fn any_word() -> impl Strategy<Value = Word> {
    "[A-Za-z_][A-Za-z0-9_-]{0,10}"
        .prop_filter("an include is no option", |word| {
            !word.to_ascii_lowercase().ends_with("include") && word != "if_env"
        })
        .prop_map(|text| Word { text: text.into(), span: Span::default() })
}

fn any_value() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        any_scalar().prop_map(ValueKind::Scalar),
        prop::collection::vec(any_scalar(), 0..4).prop_map(ValueKind::Array),
        prop::collection::vec((any_scalar(), any_scalar()), 0..4).prop_map(ValueKind::Dict),
    ];
    kind.prop_map(|kind| Value { kind, span: Span::default() })
}

fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let include = Word { text: "include".into(), span: Span::default() };
    let leaf = prop_oneof![
        4 => (any_word(), any_value()).prop_map(|(name, value)| Item::Option(Assignment { name, value })),
        1 => any_scalar().prop_map(move |target| Item::Include(Include { word: include.clone(), target, items: Vec::new() })),
    ];
    let item = leaf.prop_recursive(5, 40, 5, |inner| {
        let body = || prop::collection::vec(inner.clone(), 0..5);
        let if_env = Word { text: "If_Env".into(), span: Span::default() };
        let (braces, holds) = (Span::default(), false);
        prop_oneof![
            3 => (any_word(), prop::option::of(any_scalar()), body())
                .prop_map(move |(word, name, body)| Item::Stanza(Stanza { word, name, body, braces })),
            1 => (any_plain_scalar(), body()).prop_map(move |(condition, body)| {
                Item::Conditional(Conditional { word: if_env.clone(), condition, holds, body, braces })
            }),
        ]
    });
    prop::collection::vec(item, 0..6)
}

fn parsed(text: &str) -> (Parsed, Reports) {
    let mut reports = Reports::default();
    (parse(&text.into(), 0, &mut Bounds::default(), &mut reports), reports)
}

/// What may stand between two tokens.
const SEAMS: &[&str] = &[
    " ",
    " ",
    "\n",
    "\n\n\n",
    "\t \r\n",
    " /* c */ ",
    "/* two\n lines */",
    " # rest\n",
    "\n# own\n",
    "\n\n  # own # x\n\n",
];

/// The text with something else between its tokens than what was there.
fn with_seams(text: &str, seams: &[usize]) -> String {
    let (mut lexer, mut reports, mut out) = (Lexer::new(text, 0), Reports::default(), String::new());
    for seam in seams.iter().cycle() {
        let token = lexer.next(&mut reports);
        out.push_str(SEAMS[*seam]);
        if token.kind == TokenKind::End {
            break;
        }
        out.push_str(lexer.slice(token.span));
    }
    out
}

fn comments(text: &str) -> Vec<String> {
    let (mut lexer, mut reports) = (Lexer::keeping_comments(text), Reports::default());
    while lexer.next(&mut reports).kind != TokenKind::End {}
    lexer.take_comments().into_iter().map(|span| lexer.slice(span).trim_end().to_owned()).collect()
}

proptest! {
    // Some texts are no configuration once their blanks have changed; with many cases they are many.
    #![proptest_config(ProptestConfig { max_global_rejects: 1 << 20, ..ProptestConfig::default() })]
    #[test]
    fn what_is_printed_reads_back_as_the_same_tree(items in any_items()) {
        let text = printed(&items);
        let (again, reports) = parsed(&text);
        prop_assert!(!reports.has_errors(), "{}\n{:?}", text, reports);
        prop_assert_eq!(shape(&again.items), items);
    }

    #[test]
    fn what_is_formatted_reads_back_as_the_same_tree(items in any_items(), seams in prop::collection::vec(0..SEAMS.len(), 1..20)) {
        let text = with_seams(&printed(&items), &seams);
        let (before, reports) = parsed(&text);
        prop_assume!(!reports.has_errors());
        let once = crate::format::format(&text).map_err(|refused| TestCaseError::fail(refused.render(false)))?;
        let (after, reports) = parsed(&once);
        prop_assert!(!reports.has_errors(), "{}\n{}\n{:?}", text, once, reports);
        prop_assert_eq!(shape(&after.items), shape(&before.items), "{}\n{}", text, once);
        prop_assert_eq!(comments(&once), comments(&text), "{}\n{}", text, once);
        let twice = crate::format::format(&once).map_err(|refused| TestCaseError::fail(refused.render(false)))?;
        prop_assert_eq!(&twice, &once, "from {}", text);
    }

    #[test]
    fn a_text_survives_quoting(text in "\\PC*|[ -~\r\n\t]*") {
        let scalar = Scalar::from_text(&text);
        prop_assert_eq!(scalar.text(), text.as_str());
        let value = crate::parser::parse_value(&scalar.source());
        prop_assert_eq!(value.and_then(|value| value.scalar().map(|own| own.text().into_owned())), Some(text));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parsed(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_jumble_of_tokens_makes_it_panic(words in prop::collection::vec("[a-c]|[{}()=,;/#$\\\\]|if_env |\\$\\{|\\$\"|\\[|\\]|\"|'|\n|/\\*|\\*/|\u{201c}|\u{a0}|é|include |1\\.2\\.3\\.4/8", 0..60)) {
        let text = words.concat();
        let (result, reports) = parsed(&text);
        if !reports.has_errors() {
            let (again, _) = parsed(&printed(&result.items));
            prop_assert_eq!(shape(&again.items), shape(&result.items));
        }
    }
}

#[test]
fn nesting_is_refused_at_the_limit() {
    let nested = |depth: usize| format!("{}{}", "a { ".repeat(depth), "} ".repeat(depth));
    assert!(!parsed(&nested(DEPTH_MAX)).1.has_errors());
    assert!(parsed(&nested(DEPTH_MAX + 1)).1.has_errors());
}

/// Texts made of one piece over and over.
const PIECES: &[&str] = &[
    "a { ",
    "{",
    "}",
    "(",
    "[",
    "\"",
    "'",
    "\\\"\n",
    "/*",
    "a = ( ",
    "a = [ b = ",
    "x\n",
    "a b\n",
    "\u{201c}\n",
    "${",
    "${A:-",
    "${A}",
    "a = ${A} ",
    "$\"",
    "a = $\"${A}\" ",
    "$\"${A:-\n",
    "a$",
    "if_env A { ",
    "if_env ",
    "\"${A}\" ",
    "/\n",
    "a=1;\n",
    "'\n",
    "=\n",
    "a {\n",
    "a = b c ",
    "a$b ",
    "#",
    "/* ",
    "\u{a0}",
    "a = $\"\\",
];

/// Each of these would take minutes if any step looked at the whole text again for each piece of it.
#[test]
fn a_long_text_of_anything_is_parsed_or_refused_in_one_pass() {
    let size = 1 << 18;
    for piece in PIECES {
        let text = piece.repeat(size / piece.len());
        let (mut lexer, mut reports) = (Lexer::new(&text, 0), Reports::default());
        while !reports.is_full() && lexer.next(&mut reports).kind != TokenKind::End {}
        assert!(lexer.looked <= 4 * text.len(), "{piece:?}: {} bytes looked at", lexer.looked);
        parsed(&text);
        drop(crate::format::format(&text));
    }
    let (array, reports) = parsed(&format!("a = ( {})", "10.0.0.0/8 ".repeat(size / 11)));
    assert!(!reports.has_errors() && array.items.len() == 1);
}
