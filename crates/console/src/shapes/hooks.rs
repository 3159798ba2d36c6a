//! `module hooks`: every call-out point, and who provides it.

use serde_json::{Value, json};

use super::{Shape, line};

/// `module hooks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookList {
    /// The points, in name order.
    pub hooks: Vec<HookRow>,
}

/// One call-out point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookRow {
    /// `core_final_validation2`.
    pub name: String,
    /// The C prototype of a provider.
    pub prototype: String,
    /// `A`, `B` or `C`.
    pub tier: String,
    /// What has to be built before it is called; none if it is called.
    pub awaits: Option<String>,
    /// What is told of a point that is called.
    pub called: Option<CalledHook>,
}

/// How a point is called, and whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalledHook {
    /// How answers combine.
    pub rule: String,
    /// What becomes of a call when a provider fails.
    pub failing: String,
    /// On which thread.
    pub runs: String,
    /// What of a message is there.
    pub needs: String,
    /// Whether a provider may suspend the call.
    pub suspends: bool,
    /// When it is called.
    pub meaning: String,
    /// The providers, in calling order.
    pub providers: Vec<HookProvider>,
}

/// One provider; the figures are those since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookProvider {
    /// The module.
    pub module: String,
    /// Calls.
    pub calls: u64,
    /// Calls that it suspended.
    pub suspensions: u64,
    /// Times it suspended where it may not.
    pub refusals: u64,
    /// Times it failed.
    pub errors: u64,
    /// Microseconds of the mean of the polls that were timed; none if none was.
    pub mean_microseconds: Option<f64>,
    /// Microseconds of the longest of these.
    pub longest_microseconds: Option<f64>,
}

impl Shape for HookList {
    fn text(&self) -> String {
        self.hooks.iter().map(HookRow::text).collect()
    }

    fn json(&self) -> Value {
        json!({ "hooks": self.hooks.iter().map(HookRow::json).collect::<Value>() })
    }
}

impl HookRow {
    /// Name, prototype, and a line for each provider.
    fn text(&self) -> String {
        let mut text = String::new();
        let below = |text: &mut String, told: &str| {
            // A tab within a line would be made a blank.
            text.push('\t');
            line!(text, "{told}");
        };
        line!(text, "{}", self.name);
        below(&mut text, &self.prototype);
        if let Some(room) = &self.awaits {
            below(&mut text, &format!("not called before there is: {room}"));
        }
        if let Some(CalledHook { rule, runs, failing, suspends, providers, .. }) = &self.called {
            let may = if *suspends { "may suspend" } else { "may not suspend" };
            below(&mut text, &format!("{rule}; on {runs}; {may}; a failing provider: {failing}"));
            providers.iter().for_each(|provider| below(&mut text, &format!("provided by {}", provider.text())));
        }
        text
    }

    fn json(&self) -> Value {
        let mut row = json!({
            "name": self.name,
            "prototype": self.prototype,
            "tier": self.tier,
            "awaits": self.awaits,
        });
        if let (Some(called), Some(row)) = (&self.called, row.as_object_mut()) {
            row.insert("rule".into(), json!(called.rule));
            row.insert("failing".into(), json!(called.failing));
            row.insert("runs".into(), json!(called.runs));
            row.insert("needs".into(), json!(called.needs));
            row.insert("suspends".into(), json!(called.suspends));
            row.insert("meaning".into(), json!(called.meaning));
            row.insert("providers".into(), called.providers.iter().map(HookProvider::json).collect());
        }
        row
    }
}

impl HookProvider {
    fn text(&self) -> String {
        let Self { module, calls, suspensions, refusals, errors, .. } = self;
        let mut text =
            format!("{module}: calls {calls}, suspensions {suspensions}, refusals {refusals}, errors {errors}");
        if let (Some(mean), Some(longest)) = (self.mean_microseconds, self.longest_microseconds) {
            text.push_str(&format!(", mean {mean:.1} us, longest {longest:.1} us"));
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "module": self.module,
            "calls": self.calls,
            "suspensions": self.suspensions,
            "refusals": self.refusals,
            "errors": self.errors,
            "mean_microseconds": self.mean_microseconds,
            "longest_microseconds": self.longest_microseconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_its_name_its_prototype_and_its_providers() {
        let provider =
            HookProvider { module: "probe".into(), calls: 64, mean_microseconds: Some(1.5), ..Default::default() };
        let provider = HookProvider { longest_microseconds: Some(2.0), ..provider };
        let called = CalledHook {
            rule: "every provider is called".into(),
            runs: "any thread".into(),
            failing: "passed over".into(),
            providers: vec![provider, HookProvider { module: "ec_logger".into(), ..Default::default() }],
            ..Default::default()
        };
        let reopen = HookRow {
            name: "core_log_reopen".into(),
            prototype: "void core_log_reopen(void *closure)".into(),
            called: Some(called),
            ..Default::default()
        };
        let auth = HookRow {
            name: "core_validate_auth".into(),
            prototype: "int core_validate_auth(void *closure)".into(),
            awaits: Some("AUTH".into()),
            ..Default::default()
        };
        let list = HookList { hooks: vec![reopen, auth] };
        let golden = "\
core_log_reopen
\tvoid core_log_reopen(void *closure)
\tevery provider is called; on any thread; may not suspend; a failing provider: passed over
\tprovided by probe: calls 64, suspensions 0, refusals 0, errors 0, mean 1.5 us, longest 2.0 us
\tprovided by ec_logger: calls 0, suspensions 0, refusals 0, errors 0
core_validate_auth
\tint core_validate_auth(void *closure)
\tnot called before there is: AUTH
";
        assert_eq!(list.text(), golden);
        let json = list.json();
        assert_eq!(json["hooks"][0]["providers"][1]["module"], "ec_logger");
        assert_eq!((&json["hooks"][1]["awaits"], &json["hooks"][0]["awaits"]), (&json!("AUTH"), &Value::Null));
        assert!(json["hooks"][1].get("providers").is_none());
    }
}
