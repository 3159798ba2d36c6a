//! A scope as XML: options with their values, then the scopes in it.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// The document of a configuration, from its JSON form.
pub(crate) fn document(root: &Json) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<configuration>\n".to_owned();
    body(root, 1, &mut out);
    out.push_str("</configuration>\n");
    out
}

fn body(scope: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, value) in scope["options"].as_object().into_iter().flatten() {
        let _ = write!(out, "{indent}<option name=\"{}\">", escaped(name));
        match value {
            Json::Array(items) => items.iter().for_each(|item| {
                let _ = write!(out, "<item>{}</item>", escaped(&text(item)));
            }),
            Json::Object(pairs) => pairs.iter().for_each(|(key, value)| {
                let _ = write!(out, "<entry key=\"{}\">{}</entry>", escaped(key), escaped(&text(value)));
            }),
            scalar => out.push_str(&escaped(&text(scalar))),
        }
        out.push_str("</option>\n");
    }
    for child in scope["scopes"].as_array().into_iter().flatten() {
        let word = escaped(child["scope"].as_str().unwrap_or_default());
        let name = child["name"].as_str().filter(|name| !name.is_empty());
        let name = name.map_or(String::new(), |name| format!(" name=\"{}\"", escaped(name)));
        let _ = writeln!(out, "{indent}<scope word=\"{word}\"{name}>");
        body(child, depth + 1, out);
        let _ = writeln!(out, "{indent}</scope>");
    }
}

fn text(scalar: &Json) -> String {
    scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned)
}

/// A text for content or attribute; what XML 1.0 cannot hold becomes the replacement character.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", c as u32)),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_survives_as_content_and_attribute() {
        let root = json!({
            "options": { "a": "x < \"y\" & z\r\n", "b": ["1", "2"], "c": { "k": "v" }, "d": 5 },
            "scopes": [{ "scope": "domain", "name": "/a\\.b/", "options": {}, "scopes": [] },
                       { "scope": "security", "name": "", "options": { "e": true }, "scopes": [] }],
        });
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<configuration>\n\
            \x20 <option name=\"a\">x &lt; &quot;y&quot; &amp; z&#13;&#10;</option>\n\
            \x20 <option name=\"b\"><item>1</item><item>2</item></option>\n\
            \x20 <option name=\"c\"><entry key=\"k\">v</entry></option>\n\
            \x20 <option name=\"d\">5</option>\n\
            \x20 <scope word=\"domain\" name=\"/a\\.b/\">\n  </scope>\n\
            \x20 <scope word=\"security\">\n    <option name=\"e\">true</option>\n  </scope>\n</configuration>\n";
        assert_eq!(document(&root), expected);
    }
}
