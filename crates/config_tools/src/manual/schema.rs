//! The reference for editors: for each scope a JSON Schema object with the options that may stand in it.
//!
//! A value is described as the text of the file reads: a bare number or true and false by their type, all else by
//! strings. What is no JSON Schema begins with `x-`: state, default as written, scopes that may stand inside.

use std::collections::BTreeMap;

use config::{Description, Shape};
use serde_json::{Map, Value as Json, json};

use super::chapters::Chapters;

/// The document, readable.
pub(super) fn document(chapters: &Chapters) -> String {
    let mut scopes: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for one in chapters.all().filter(|one| one.is_option()) {
        for scope in &one.scopes {
            let properties = scopes.entry(scope.clone()).or_default();
            let property = property(one);
            // In a listen stanza a name may mean one thing in one listener and nothing in another: effect wins.
            if !properties.contains_key(one.name) || property["x-state"] == "in effect" {
                properties.insert(one.name.to_owned(), property);
            }
        }
    }
    let words: Vec<Json> = chapters
        .all()
        .filter(|one| !one.is_option())
        .map(|one| json!({ "word": one.name, "x-kind": one.kind, "x-scopes": one.scopes, "x-state": one.state.word(), "description": one.meaning }))
        .collect();
    let definitions: Map<String, Json> = scopes
        .into_iter()
        .map(|(scope, properties)| (scope, json!({ "type": "object", "properties": properties })))
        .collect();
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ecelerity.conf",
        "x-product": format!("Postrider {}", env!("CARGO_PKG_VERSION")),
        "$ref": "#/$defs/global",
        "$defs": definitions,
        "x-words": words,
    });
    format!("{whole:#}\n")
}

fn property(one: &Description) -> Json {
    let mut property = json!({
        "description": one.meaning,
        "x-state": one.state.word(),
        "x-owner": one.owner,
        "x-type": one.shape.word(),
        "x-value": one.value,
        "x-scopes": one.scopes,
        "x-fallback": one.fallback(),
        "x-reloads": one.tunable,
    });
    let kind = match one.shape {
        Shape::Boolean => json!({ "type": ["boolean", "string"] }),
        Shape::Integer | Shape::Seconds => json!({ "type": "integer" }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Array => json!({ "type": "array", "items": { "type": ["string", "integer", "boolean"] } }),
        Shape::Dictionary => json!({ "type": "object" }),
        Shape::Words if !one.words.is_empty() => json!({ "enum": one.words }),
        _ => json!({ "type": ["string", "integer", "number", "boolean"] }),
    };
    if let (Json::Object(property), Json::Object(kind)) = (&mut property, kind) {
        property.extend(kind);
        if !one.default.is_empty() {
            property.insert("x-default".to_owned(), one.default.into());
        }
    }
    property
}
