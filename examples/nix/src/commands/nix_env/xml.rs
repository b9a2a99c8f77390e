//! Packages as XML: what `nix-env --query --xml` prints.

use std::collections::BTreeMap;

use serde_json::Value;

/// An element that is written: its name and attributes, by name.
type Attributes = BTreeMap<&'static str, String>;

/// What is shown of a package besides its attributes.
pub(super) struct Item {
    pub(super) attributes: Attributes,
    /// Names and, if they are shown, paths.
    pub(super) outputs: Vec<(String, Option<String>)>,
    /// Values by name, if they are shown.
    pub(super) meta: BTreeMap<String, Value>,
}

/// Returns the document.
pub(super) fn document(items: &[Item]) -> String {
    let mut text = "<?xml version='1.0' encoding='utf-8'?>\n<items>\n".to_owned();
    for Item { attributes, outputs, meta } in items {
        text.push_str(&format!("  <item{}>\n", written(attributes)));
        for (name, path) in outputs {
            let mut attributes = Attributes::from([("name", name.clone())]);
            attributes.extend(path.clone().map(|path| ("path", path)));
            text.push_str(&format!("    <output{} />\n", written(&attributes)));
        }
        for (name, value) in meta {
            push_meta(&mut text, name, value);
        }
        text.push_str("  </item>\n");
    }
    text + "</items>\n"
}

fn push_meta(text: &mut String, name: &str, value: &Value) {
    let (kind, shown) = match value {
        Value::String(string) => ("string", string.clone()),
        Value::Number(number) if number.is_f64() => ("float", number.to_string()),
        Value::Number(number) => ("int", number.to_string()),
        Value::Bool(value) => ("bool", value.to_string()),
        Value::Array(values) => {
            let strings = values.iter().filter_map(Value::as_str).map(|string| Attributes::from([("value", string.to_owned())]));
            return push_strings(text, name, strings);
        }
        Value::Object(values) => {
            let strings = values.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
            let strings = strings.map(|(name, value)| Attributes::from([("type", name.clone()), ("value", value.to_owned())]));
            return push_strings(text, name, strings);
        }
        Value::Null => return,
    };
    let attributes = Attributes::from([("name", name.to_owned()), ("type", kind.to_owned()), ("value", shown)]);
    text.push_str(&format!("    <meta{} />\n", written(&attributes)));
}

fn push_strings(text: &mut String, name: &str, strings: impl Iterator<Item = Attributes>) {
    text.push_str(&format!("    <meta{}>\n", written(&Attributes::from([("name", name.to_owned()), ("type", "strings".to_owned())]))));
    strings.for_each(|attributes| text.push_str(&format!("      <string{} />\n", written(&attributes))));
    text.push_str("    </meta>\n");
}

fn written(attributes: &Attributes) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        text.push_str(&format!(" {name}=\""));
        for c in value.chars() {
            match c {
                '"' => text.push_str("&quot;"),
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                '&' => text.push_str("&amp;"),
                '\n' => text.push_str("&#xA;"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text
}
