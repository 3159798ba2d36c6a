//! All providers of one configuration generation.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use crate::point::{Hook, HookPoint, Provider, Registered};

/// The providers of every hook, fixed for one generation. Look points up once per session or queue and keep them.
#[derive(Default)]
pub struct HookSet {
    points: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    descriptions: Vec<HookDescription>,
}

/// One hook, for `module hooks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookDescription {
    /// `<scope>_<hook>`.
    pub name: &'static str,
    /// The C prototype.
    pub prototype: &'static str,
    /// The modules that provide it, in calling order.
    pub modules: Vec<String>,
}

impl HookSet {
    /// The point of a hook; an empty one if nobody provides it.
    pub fn point<H: Hook>(&self) -> HookPoint<H> {
        let point = self.points.get(&TypeId::of::<H>()).and_then(|any| any.downcast_ref::<HookPoint<H>>());
        point.cloned().unwrap_or_default()
    }

    /// The hooks that have providers, in name order.
    pub fn descriptions(&self) -> &[HookDescription] {
        &self.descriptions
    }
}

trait Chain: Any + Send {
    fn finish(self: Box<Self>) -> (TypeId, Box<dyn Any + Send + Sync>, HookDescription);
    fn as_any(&mut self) -> &mut dyn Any;
}

struct Providers<H: Hook>(Vec<Registered<H>>);

impl<H: Hook> Chain for Providers<H> {
    fn finish(self: Box<Self>) -> (TypeId, Box<dyn Any + Send + Sync>, HookDescription) {
        let modules = self.0.iter().map(|registered| registered.module.to_string()).collect();
        let description = HookDescription { name: H::NAME, prototype: H::PROTOTYPE, modules };
        let point = HookPoint::<H> { providers: Some(self.0.into()) };
        (TypeId::of::<H>(), Box::new(point), description)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Collects providers while a generation is prepared. Used on the master scheduler only.
#[derive(Default)]
pub struct HookSetBuilder {
    chains: HashMap<TypeId, Box<dyn Chain>>,
}

impl HookSetBuilder {
    /// Nothing registered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a provider before those registered so far.
    pub fn first<H: Hook>(&mut self, module: &str, provider: Provider<H>) {
        self.chain::<H>().insert(0, Registered { module: module.into(), provider });
    }

    /// Puts a provider after those registered so far.
    pub fn last<H: Hook>(&mut self, module: &str, provider: Provider<H>) {
        self.chain::<H>().push(Registered { module: module.into(), provider });
    }

    /// Fixes the set.
    pub fn finish(self) -> Arc<HookSet> {
        let mut set = HookSet::default();
        for chain in self.chains.into_values() {
            let (id, point, description) = chain.finish();
            set.points.insert(id, point);
            set.descriptions.push(description);
        }
        set.descriptions.sort_by_key(|description| description.name);
        Arc::new(set)
    }

    fn chain<H: Hook>(&mut self) -> &mut Vec<Registered<H>> {
        let chain = self.chains.entry(TypeId::of::<H>()).or_insert_with(|| Box::new(Providers::<H>(Vec::new())));
        // The entry under H's TypeId is only ever made by the line above.
        &mut chain.as_any().downcast_mut::<Providers<H>>().expect("keyed by the hook's type").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Answer, Rule};

    struct Verdicts;
    impl Hook for Verdicts {
        const NAME: &'static str = "test_verdicts";
        const PROTOTYPE: &'static str = "int test_verdicts(void *closure, char *seen)";
        const RULE: Rule = Rule::FirstDone;
        type Args<'a> = &'a mut Vec<&'static str>;
        type Verdict = u16;
    }

    struct Log;
    impl Hook for Log {
        const NAME: &'static str = "test_log";
        const PROTOTYPE: &'static str = "void test_log(void *closure)";
        const RULE: Rule = Rule::EveryProvider;
        type Args<'a> = &'a mut Vec<&'static str>;
        type Verdict = ();
    }

    fn says(name: &'static str, verdict: Option<u16>) -> Provider<Verdicts> {
        Arc::new(move |seen: &mut &mut Vec<&'static str>| {
            seen.push(name);
            verdict.map_or(Answer::Cont, Answer::Done)
        })
    }

    #[test]
    fn first_prepends_last_appends_and_the_first_verdict_ends_the_chain() {
        let mut builder = HookSetBuilder::new();
        builder.last::<Verdicts>("b", says("b", Some(550)));
        builder.last::<Verdicts>("c", says("c", Some(450)));
        builder.first::<Verdicts>("a", says("a", None));
        let set = builder.finish();
        let mut seen = Vec::new();
        let (verdict, module) = set.point::<Verdicts>().call_now(&mut &mut seen).unwrap();
        assert_eq!((verdict, &*module, seen), (550, "b", vec!["a", "b"]));
        assert_eq!(set.descriptions()[0].modules, ["a", "b", "c"]);
    }

    #[test]
    fn a_void_hook_runs_every_provider() {
        let mut builder = HookSetBuilder::new();
        for name in ["x", "y"] {
            builder.last::<Log>(
                name,
                Arc::new(move |seen: &mut &mut Vec<&'static str>| {
                    seen.push(name);
                    Answer::Done(())
                }),
            );
        }
        let mut seen = Vec::new();
        assert!(builder.finish().point::<Log>().call_now(&mut &mut seen).is_none());
        assert_eq!(seen, ["x", "y"]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_provider_that_would_block_is_called_again_when_ready() {
        let mut builder = HookSetBuilder::new();
        builder.last::<Verdicts>(
            "slow",
            Arc::new(|seen: &mut &mut Vec<&'static str>| {
                seen.push("asked");
                if seen.len() == 1 { Answer::Again(Box::pin(tokio::task::yield_now())) } else { Answer::Done(451) }
            }),
        );
        let mut seen = Vec::new();
        let verdict = builder.finish().point::<Verdicts>().call(&mut &mut seen).await;
        assert_eq!(verdict.map(|(code, _)| code), Some(451));
        assert_eq!(seen, ["asked", "asked"]);
    }

    #[test]
    fn a_hook_nobody_provides_is_empty() {
        assert!(HookSetBuilder::new().finish().point::<Log>().is_empty());
    }
}
