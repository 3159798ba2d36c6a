//! What a call costs: `cargo bench -p hooks`. A hook nobody provides, one provider of Rust, one by name with four
//! arguments.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hooks::{
    Answer, Declaration, DeclaredHook, Failing, Hook, HookPoint, HookRegistry, HookSetBuilder, Kind, Listed, Needs,
    Parameter, Part, Parts, Place, Returned, Rule, Runs, Slot, Tier, Value,
};
use scheduler::{Clock, Meters};

struct Four;
impl Hook for Four {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "bench",
        name: "four",
        returns: "int",
        parameters: &[
            Parameter::message("msg"),
            Parameter::string("str"),
            Parameter::session("ac"),
            Parameter::context("vctx"),
        ],
        rule: Rule::VALIDATE,
        failing: Failing::PassedOver,
        runs: Runs::Session,
        needs: Needs::Nothing,
        suspends: true,
        tier: Tier::C,
        meaning: "Measured.",
    };
    type Args<'a> = (&'a u64, &'a str, &'a u32, &'a mut Vec<u8>);
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(&mut [
            Value::Object(&mut Parts::new(Kind::Message, [Part::Shown(args.0)])),
            Value::text(args.1),
            Value::Object(&mut Parts::new(Kind::Session, [Part::Shown(args.2)])),
            Value::Object(&mut Parts::new(Kind::ValidationContext, [Part::Open(&mut *args.3)])),
        ]);
    }

    fn verdict(_: Returned) -> Option<()> {
        Some(())
    }
}

const HOOKS: &[&dyn DeclaredHook] = &[&Listed::<Four>::NEW];
const CALLS: u32 = 5_000_000;

/// What this thread has had of a processor: other work on the machine is not counted.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn measure(what: &str, point: &HookPoint<Four>, runtime: &tokio::runtime::Runtime) {
    let mut context = Vec::new();
    let best = (0..5).map(|_| {
        let before = processor_time();
        runtime.block_on(async {
            for _ in 0..CALLS {
                let mut args = (black_box(&1), black_box("RCPT TO:<a@b.example>"), black_box(&2), &mut context);
                if !black_box(point).is_empty() {
                    black_box(point.call(&mut args).await);
                }
            }
        });
        processor_time() - before
    });
    let best = best.min().unwrap_or(Duration::ZERO);
    println!("{what}: {:.2} ns a call", best.as_secs_f64() * 1e9 / f64::from(CALLS));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let registry = HookRegistry::new(Clock::system(), &Meters::new(), [HOOKS]);
    measure("nobody provides it", &HookPoint::default(), &runtime);
    let mut builder = HookSetBuilder::of(&registry);
    builder.last::<Four>("rust", Arc::new(|_| Answer::Cont));
    measure("one provider of Rust", &builder.finish().point(), &runtime);
    let mut builder = HookSetBuilder::of(&registry);
    let provider = |arguments: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| {
        black_box(arguments.len());
        Poll::Ready(Returned::Number(0))
    };
    let added = builder.by_name(Place::Last, "bench_four", &Four::DECLARATION.types(), "foreign", Arc::new(provider));
    added.expect("the same prototype");
    measure("one provider by name, four arguments", &builder.finish().point(), &runtime);
}
