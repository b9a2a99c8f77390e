//! `config show`: all settings with their values.

use super::Invocation;
use crate::failure::{Failure, Outcome};
use crate::settings::{Kind, Settings};

pub(super) fn show(mut invocation: Invocation) -> Outcome<u8> {
    let mut json = false;
    let mut name: Option<String> = None;
    invocation.parse(
        |flag, _| {
            json |= flag == "--json";
            Ok(flag == "--json")
        },
        |word, _| match name.replace(word) {
            None => Ok(()),
            Some(_) => Err(Failure::Usage("'config show' takes one name of a setting".into())),
        },
    )?;
    let context = invocation.context()?;
    if let Some(name) = name {
        let found = Settings::find(&name).filter(|(setting, _)| context.settings.is_available(setting.name));
        let (setting, _) = found.ok_or_else(|| Failure::new(format!("could not find setting '{name}'")))?;
        println!("{}", context.settings.text(setting.name));
        return Ok(0);
    }
    if json {
        let all = context.settings.all().map(|(setting, value)| {
            let fields = serde_json::json!({
                "aliases": setting.aliases,
                "defaultValue": to_json(setting.kind, setting.default),
                "value": to_json(setting.kind, value),
            });
            (setting.name.to_owned(), fields)
        });
        println!("{}", serde_json::Value::Object(all.collect()));
    } else {
        for (setting, value) in context.settings.all() {
            println!("{} = {value}", setting.name);
        }
    }
    Ok(0)
}

fn to_json(kind: Kind, value: &str) -> serde_json::Value {
    match kind {
        Kind::Bool => (value == "true").into(),
        Kind::Integer => value.parse::<u64>().map_or_else(|_| value.into(), Into::into),
        Kind::List | Kind::Set => value.split_whitespace().collect(),
        Kind::Text => value.into(),
    }
}
