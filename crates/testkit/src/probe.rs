//! The module `probe`: provides every hook by its name, as a module in another language would, writes down what it is
//! handed, and decides nothing.

use std::sync::Arc;
use std::task::{Context, Poll};

use hooks::{Declaration, HookSetBuilder, Place, Returned, Rule, Slot, Value};

/// Provides every hook that the builder's registry knows. `saw` gets a line for each call: `validate_ehlo(EHLO pc,
/// session, validation context)`.
pub fn probe(builder: &mut HookSetBuilder, saw: impl Fn(String) + Send + Sync + 'static) {
    let saw = Arc::new(saw);
    for declaration in builder.registry().declarations() {
        let saw = saw.clone();
        let provider = move |values: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| {
            let values: Vec<String> = values.iter().map(shown).collect();
            saw(format!("{}({})", declaration.title(), values.join(", ")));
            Poll::Ready(nothing_said(declaration))
        };
        let added =
            builder.by_name(Place::Last, &declaration.title(), &declaration.types(), "probe", Arc::new(provider));
        added.expect("declared, and with these types");
    }
}

/// The answer that leaves everything as it is.
fn nothing_said(declaration: &Declaration) -> Returned {
    match declaration.rule {
        Rule::Every | Rule::TextEnds => Returned::Nothing,
        Rule::Chain { goes_on, .. } => Returned::Number(goes_on.0),
        Rule::NonZeroEnds => Returned::Number(0),
        Rule::ZeroEnds => Returned::Number(1),
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Absent => "-".to_owned(),
        Value::Object(object) => object.kind().word().to_owned(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::TextPlace(text) => format!("*{}", String::from_utf8_lossy(text)),
        Value::Number(number) => number.to_string(),
        Value::NumberPlace(number) => format!("*{number}"),
        Value::Time(_) => "time".to_owned(),
        Value::TimePlace(_) => "*time".to_owned(),
        Value::Other(_) => "other".to_owned(),
    }
}
