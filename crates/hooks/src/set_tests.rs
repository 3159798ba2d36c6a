//! What providers are promised: order, rules, memory of a call, names, figures.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use scheduler::{Clock, Doing, Meters};

use super::*;
use crate::{
    Answer, DeclaredHook, Failing, Kind, Listed, Meaning, Needs, Parameter, Returned, Rule, Runs, Slot, Tier, Value,
};

/// A hook whose providers write into a list, and whose first verdict counts.
struct Verdicts;
impl Hook for Verdicts {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "test",
        name: "verdicts",
        returns: "int",
        parameters: &[Parameter::text("seen"), Parameter::number_place("code")],
        rule: Rule::Chain { goes_on: Meaning(0, "CONT"), ends: &[Meaning(1, "DONE"), Meaning(2, "RETRY")] },
        failing: Failing::Defers,
        runs: Runs::Session,
        needs: Needs::Nothing,
        suspends: true,
        tier: Tier::C,
        meaning: "A test decides.",
    };
    type Args<'a> = Seen;
    type Verdict = i64;

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        let seen = args.seen.join(" ");
        call(&mut [Value::text(&seen), Value::NumberPlace(&mut args.code)]);
    }

    fn verdict(returned: Returned) -> Option<i64> {
        match returned {
            Returned::Number(number) => Some(number),
            _ => None,
        }
    }

    fn deferred(args: &mut Self::Args<'_>) -> Option<i64> {
        args.code = 451;
        Some(-1)
    }
}

#[derive(Default)]
struct Seen {
    seen: Vec<&'static str>,
    code: i64,
}

/// A void hook whose providers may not suspend.
struct Log;
impl Hook for Log {
    const DECLARATION: &'static Declaration = &Declaration {
        name: "log",
        returns: "void",
        rule: Rule::Every,
        failing: Failing::PassedOver,
        suspends: false,
        meaning: "A test is told.",
        ..*Verdicts::DECLARATION
    };
    type Args<'a> = Seen;
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        Verdicts::show(args, call);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

const HOOKS: &[&dyn DeclaredHook] = &[&Listed::<Verdicts>::NEW, &Listed::<Log>::NEW];
const TYPES: &str = "(void*, const char*, int *)";

fn registry() -> (HookRegistry, Meters) {
    let meters = Meters::new();
    (HookRegistry::new(Clock::system(), &meters, [HOOKS]), meters)
}

fn says(name: &'static str, verdict: Option<i64>) -> Provider<Verdicts> {
    Arc::new(move |args: &mut Seen| {
        args.seen.push(name);
        verdict.map_or(Answer::Cont, Answer::Done)
    })
}

fn returns(returned: Returned) -> Arc<dyn Provide> {
    Arc::new(move |_: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| Poll::Ready(returned.clone()))
}

/// What one provider in another language comes to.
async fn verdict_of(provider: Arc<dyn Provide>) -> (Option<i64>, i64, Figures) {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    builder.by_name(Place::Last, "test_verdicts", TYPES, "foreign", provider).unwrap();
    builder.last::<Verdicts>("after", says("after", None));
    let (set, mut args) = (builder.finish(), Seen::default());
    let verdict = set.point::<Verdicts>().call(&mut args).await.map(|(verdict, _)| verdict);
    let described = set.descriptions();
    let hook = described.iter().find(|hook| hook.declaration.name == "verdicts").unwrap();
    assert_eq!(verdict.is_none(), !args.seen.is_empty(), "the next provider is called unless this one ended the chain");
    (verdict, args.code, hook.providers[0].figures)
}

#[test]
fn first_prepends_last_appends_and_the_first_verdict_ends_the_chain_whatever_the_language() {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    builder.last::<Verdicts>("b", says("b", None));
    builder.by_name(Place::Last, "test_verdicts", TYPES, "c", returns(Returned::Number(2))).unwrap();
    builder.last::<Verdicts>("d", says("d", Some(450)));
    builder.first::<Verdicts>("a", says("a", None));
    let (set, mut args) = (builder.finish(), Seen::default());
    let (verdict, module) = set.point::<Verdicts>().call_now(&mut args).unwrap();
    assert_eq!((verdict, &*module, args.seen), (2, "c", vec!["a", "b"]));
    let described = set.descriptions();
    let titles: Vec<_> = described.iter().map(|hook| hook.declaration.title()).collect();
    assert_eq!(titles, ["test_log", "test_verdicts"], "also what nobody provides");
    let modules = |hook: &HookDescription| hook.providers.iter().map(|one| one.module.clone()).collect::<Vec<_>>();
    assert_eq!(
        (modules(&described[0]), modules(&described[1])),
        (vec![], ["a", "b", "c", "d"].map(str::to_owned).into())
    );
    let calls: Vec<_> = described[1].providers.iter().map(|one| one.figures.calls).collect();
    assert_eq!(calls, [1, 1, 1, 0]);
}

#[test]
fn a_void_hook_calls_every_provider_and_hears_none() {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    for name in ["x", "y"] {
        let provider: Provider<Log> = Arc::new(move |args: &mut Seen| {
            args.seen.push(name);
            Answer::Done(())
        });
        builder.last::<Log>(name, provider);
    }
    builder.by_name(Place::First, "test_log", TYPES, "z", returns(Returned::Number(77))).unwrap();
    let mut args = Seen::default();
    assert!(builder.finish().point::<Log>().call_now(&mut args).is_none());
    assert_eq!(args.seen, ["x", "y"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_provider_in_another_language_reads_and_writes_values_in_the_order_of_the_prototype() {
    let provider = |arguments: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| {
        let [Value::Text(b""), Value::NumberPlace(code)] = arguments else { panic!("other values") };
        **code = 550;
        Poll::Ready(Returned::Number(1))
    };
    let (verdict, code, figures) = verdict_of(Arc::new(provider)).await;
    assert_eq!((verdict, code), (Some(1), 550));
    assert_eq!((figures.calls, figures.errors, figures.refusals, figures.timed), (1, 0, 0, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_that_means_nothing_is_counted_and_comes_to_what_the_hook_declares() {
    for illegal in [Returned::Number(3), Returned::Number(-1), Returned::Nothing, Returned::Text("1".into())] {
        let (verdict, code, figures) = verdict_of(returns(illegal)).await;
        assert_eq!((verdict, code, figures.errors), (Some(-1), 451, 1), "deferred");
    }
    let (verdict, code, figures) = verdict_of(returns(Returned::Failed("no such field".into()))).await;
    assert_eq!((verdict, code, figures.errors), (Some(-1), 451, 1));
    let (verdict, code, figures) = verdict_of(returns(Returned::Number(0))).await;
    assert_eq!((verdict, code, figures.errors), (None, 0, 0), "a legal one");
}

/// Suspends until it is told, and tells when it is forgotten.
struct Waits(Rc<Cell<&'static str>>);
impl Drop for Waits {
    fn drop(&mut self) {
        self.0.set("forgotten");
    }
}

thread_local! {
    static CALL: Rc<Cell<&'static str>> = Rc::default();
}

fn waits(may_answer: bool) -> PolledProvider<Verdicts> {
    Arc::new(move |args: &mut Seen, slot: &mut Slot, context: &mut Context<'_>| {
        args.seen.push("polled");
        if slot.kept::<Waits>().is_some() && may_answer {
            return Poll::Ready(Answer::Done(7));
        }
        slot.keep(|| Waits(CALL.with(Rc::clone)));
        if may_answer {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_suspended_provider_has_memory_of_its_own_for_the_call_and_loses_it_however_that_ends() {
    let (registry, meters) = registry();
    let call = CALL.with(Rc::clone);
    for (may_answer, verdict) in [(true, Some(Some(7))), (false, None)] {
        let mut builder = HookSetBuilder::of(&registry);
        builder.polled::<Verdicts>(Place::Last, "slow", waits(may_answer));
        let (point, mut args) = (builder.finish().point::<Verdicts>(), Seen::default());
        call.set("");
        let answered = tokio::time::timeout(Duration::from_secs(1), point.call(&mut args)).await;
        let told = answered.ok().map(|answer| answer.map(|(verdict, _)| verdict));
        assert_eq!((told, call.get()), (verdict, "forgotten"));
    }
    assert_eq!(meters.get("hooks.suspensions{test_verdicts,slow}"), 2, "one for each call, whatever it took");
}

#[tokio::test(flavor = "current_thread")]
async fn a_provider_that_suspends_where_it_may_not_is_counted_and_the_others_are_called() {
    let (registry, meters) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    let never = |_: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| Poll::Pending;
    builder.by_name(Place::First, "test_log", TYPES, "slow", Arc::new(never)).unwrap();
    builder.last::<Log>(
        "quick",
        Arc::new(|args: &mut Seen| {
            args.seen.push("quick");
            Answer::Cont
        }),
    );
    builder.by_name(Place::First, "test_verdicts", TYPES, "slow", Arc::new(never)).unwrap();
    let (set, mut args) = (builder.finish(), Seen::default());
    set.point::<Log>().call(&mut args).await;
    set.point::<Log>().call_now(&mut args);
    assert_eq!((&args.seen[..], meters.get("hooks.refusals{test_log,slow}")), (&["quick", "quick"][..], 2));
    let verdict = set.point::<Verdicts>().call_now(&mut args).map(|(verdict, _)| verdict);
    assert_eq!((verdict, meters.get("hooks.refusals{test_verdicts,slow}")), (Some(-1), 1), "nothing can wait here");
}

#[test]
fn a_provider_is_refused_for_a_hook_that_nobody_calls_or_that_has_another_prototype() {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    let mut refused = |title: &str, types: &str| {
        builder.by_name(Place::Last, title, types, "m", returns(Returned::Nothing)).unwrap_err().to_string()
    };
    assert!(refused("test_verdict", TYPES).starts_with("no hook is called test_verdict"));
    assert!(refused("test_verdicts", "(void *, int)").contains("takes (void *, const char *, int *)"));
    let awaited = crate::awaited().next().unwrap();
    assert!(refused(awaited.title, TYPES).contains(awaited.room));
}

fn of_module(scope: &str, c_type: &str) -> RuntimeDeclaration {
    RuntimeDeclaration {
        scope: scope.to_owned(),
        name: "ask".to_owned(),
        returns: "int".to_owned(),
        parameters: vec![(c_type.to_owned(), "what".to_owned(), Kind::Other)],
        rule: Rule::NonZeroEnds,
        suspends: false,
        meaning: "One module asks another.".to_owned(),
    }
}

#[test]
fn a_module_declares_a_hook_of_its_own_and_every_generation_knows_it() {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    let types = "(void *, void *)";
    assert!(builder.by_name(Place::Last, "mine_ask", types, "b", returns(Returned::Nothing)).is_err());
    let first = builder.declare(of_module("mine", "void *")).unwrap();
    assert_eq!(first.prototype(), "int mine_ask(void *closure, void *what)");
    let provider = |arguments: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| {
        let [Value::Other(what)] = arguments else { panic!("other values") };
        *what.downcast_mut::<u32>().unwrap() += 1;
        Poll::Ready(Returned::Number(5))
    };
    builder.by_name(Place::Last, "mine_ask", types, "b", Arc::new(provider)).unwrap();
    let (set, mut what) = (builder.finish(), 41_u32);
    let mut values = [Value::Other(&mut what)];
    let returned = set.point_of_module("mine_ask").call_now(&mut &mut values[..]).map(|(returned, _)| returned);
    assert_eq!((returned, what), (Some(Returned::Number(5)), 42));

    let mut next = HookSetBuilder::of(&registry);
    assert!(std::ptr::eq(next.declare(of_module("mine", "void*")).unwrap(), first), "declared once");
    assert!(matches!(next.declare(of_module("mine", "int")), Err(HookError::Prototype { .. })));
    let taken = RuntimeDeclaration { name: "log".to_owned(), ..of_module("test", "int") };
    assert!(matches!(next.declare(taken), Err(HookError::Taken { .. })));
    let set = next.finish();
    assert!(set.point_of_module("mine_ask").is_empty());
    assert!(set.descriptions().iter().any(|hook| hook.declaration.title() == "mine_ask"));
}

#[test]
fn a_thread_in_a_provider_is_marked_with_it() {
    let (registry, _) = registry();
    let mut builder = HookSetBuilder::of(&registry);
    let inside = registry.clone();
    builder.last::<Log>(
        "marked",
        Arc::new(move |_: &mut Seen| {
            assert_eq!(inside.current_provider(), Some(("test_log".to_owned(), "marked".to_owned())));
            Answer::Cont
        }),
    );
    builder.finish().point::<Log>().call_now(&mut Seen::default());
    assert_eq!((Doing::current(), registry.current_provider()), (Doing::NOTHING, None));
}

#[test]
fn a_hook_nobody_provides_is_empty() {
    assert!(HookSetBuilder::new().finish().point::<Log>().is_empty());
}
