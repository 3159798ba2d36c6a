//! Properties of lexer and parser: what is printed reads back as the same tree, and no bytes make them panic or dawdle.

use proptest::prelude::*;

use crate::diagnostics::Reports;
use crate::parser::{DEPTH_MAX, Parsed, parse};
use crate::tree::{Assignment, Include, Item, Quote, Scalar, Span, Stanza, Value, ValueKind, Word};

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
            Item::Stanza(Stanza { word, name, body, .. }) => {
                let name = name.as_ref().map_or(String::new(), |name| format!(" {}", name.source()));
                out.push_str(&format!("{indent}{}{name} {{\n", word.text));
                print(body, depth + 1, out);
                out.push_str(&format!("{indent}}}\n"));
            }
        }
    }
}

fn printed(items: &[Item]) -> String {
    let mut out = String::new();
    print(items, 0, &mut out);
    out
}

/// The tree without its places.
fn shape(items: &[Item]) -> Vec<Item> {
    let scalar = |scalar: &Scalar| match scalar.quote() {
        Quote::Bare => Scalar::new(&scalar.text(), Quote::Bare, Span::default()),
        quote => {
            let source = scalar.source();
            Scalar::new(&source[1..source.len() - 1], quote, Span::default())
        }
    };
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
    };
    items.iter().map(one).collect()
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof!["[A-Za-z0-9_.:*-]{1,12}", "\\PC{0,12}", "[ -~\r\n\t]{0,12}"].prop_map(|text| Scalar::from_text(&text))
}

fn any_word() -> impl Strategy<Value = Word> {
    "[A-Za-z_][A-Za-z0-9_-]{0,10}"
        .prop_filter("an include is no option", |word| !word.to_ascii_lowercase().ends_with("include"))
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
        (any_word(), prop::option::of(any_scalar()), prop::collection::vec(inner, 0..5))
            .prop_map(|(word, name, body)| Item::Stanza(Stanza { word, name, body, braces: Span::default() }))
    });
    prop::collection::vec(item, 0..6)
}

fn parsed(text: &str) -> (Parsed, Reports) {
    let mut reports = Reports::default();
    (parse(text, 0, &mut reports), reports)
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same_tree(items in any_items()) {
        let text = printed(&items);
        let (again, reports) = parsed(&text);
        prop_assert!(!reports.has_errors(), "{}\n{:?}", text, reports);
        prop_assert_eq!(shape(&again.items), items);
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
    fn no_jumble_of_tokens_makes_it_panic(words in prop::collection::vec("[a-c]|[{}()=,;/#\\\\]|\\[|\\]|\"|'|\n|/\\*|\\*/|\u{201c}|\u{a0}|é|include |1\\.2\\.3\\.4/8", 0..60)) {
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

/// Each of these would take minutes if any step looked at the whole text again for each piece of it.
#[test]
fn a_megabyte_of_anything_is_parsed_or_refused_in_one_pass() {
    let size = 1 << 20;
    for piece in [
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
        "/\n",
        "a=1;\n",
        "'\n",
        "=\n",
        "a {\n",
    ] {
        parsed(&piece.repeat(size / piece.len()));
    }
    let (array, reports) = parsed(&format!("a = ( {})", "10.0.0.0/8 ".repeat(size / 11)));
    assert!(!reports.has_errors() && array.items.len() == 1);
}
