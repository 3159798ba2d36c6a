//! The life of modules over generations: what is called, in which order, and what an error undoes.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use config::{Configuration, Environment, Generation, Lookup, NewGeneration, Opt, Registry, Scope};
use hooks::{Answer, Declaration, Hook, HookSet, HookSetBuilder, Returned, RuntimeHook, Value};
use module::{Catalogue, Error, Loaded, Module, Modules, Setup, Stage};

static GREETING: Opt<String> = Opt::new("greeting", "hello", &[Scope::Module("alpha")], "What alpha says.");

/// Offered by `wide` outside its own stanza.
static WIDE_KEY: Opt<String> = Opt::new("wide_key", "", &[Scope::Global, Scope::Domain], "What wide looks for.");

/// Called by the tests; each instance answers with its name.
struct Roll;
impl Hook for Roll {
    const DECLARATION: &'static Declaration =
        &Declaration { scope: "test", name: "roll", returns: "void", ..*RuntimeHook::DECLARATION };
    type Args<'a> = &'a mut Vec<String>;
    type Verdict = ();

    fn show(_: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(&mut []);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

/// A module that writes down what happens to it.
struct Probe {
    name: &'static str,
    singleton: bool,
    callable: bool,
    calls: Calls,
}

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }
    fn note(&self, call: String) {
        self.lock().push(call);
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }
}

impl Module for Probe {
    fn name(&self) -> &str {
        self.name
    }
    fn description(&self) -> &str {
        "writes down what happens to it"
    }
    fn version(&self) -> &str {
        "1.2"
    }
    fn singleton(&self) -> bool {
        self.singleton
    }
    fn callable(&self) -> bool {
        self.callable
    }
    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        self.calls.note(format!("{} setup", self.name));
        match self.name {
            "broken" => Err("no luck".to_owned()),
            "alpha" => {
                setup.option(&GREETING);
                Ok(())
            }
            "wide" => {
                setup.option(&WIDE_KEY);
                Ok(())
            }
            _ => Ok(()),
        }
    }
    fn ext_init(
        &self,
        stage: Stage,
        instance: &str,
        generation: &Generation,
        hooks: &mut HookSetBuilder,
    ) -> Result<(), String> {
        let greeting = generation.get(&GREETING, &Lookup::Module { module: self.name, instance });
        self.calls.note(format!("{}:{instance} {stage:?} {greeting}", self.name));
        if greeting == "refuse" {
            return Err("that is not a greeting".to_owned());
        }
        if stage.registers() {
            let title = format!("{}:{instance}", self.name);
            hooks.last::<Roll>(
                self.name,
                Arc::new(move |roll: &mut &mut Vec<String>| {
                    roll.push(title.clone());
                    Answer::Cont
                }),
            );
        }
        Ok(())
    }
    fn destroy(&self, instance: &str) {
        self.calls.note(format!("{}:{instance} destroyed", self.name));
    }
    fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        Ok(format!("{}:{instance} heard {words:?}", self.name))
    }
}

/// A directory with a configuration, the modules of `ECM`, and what happened to them.
struct House {
    directory: tempfile::TempDir,
    calls: Calls,
}

/// `alpha` and `callable` have instances, `single` is a singleton.
const ECM: &str = "[alpha]\nmsys.requires = base\n[base]\n[callable]\n[single]\n[broken]\n\
                   [needy]\nmsys.requires = absent\n[absent]\n\
                   [wide]\nmsys.requires = base\nmsys.provides = config.Global:Domain.Wide_Key\n\
                   [wider]\nmsys.provides = config.Global:Domain.Wide_Key\n[driver]\nmsys.provides = iowrapper.probe\n";

impl House {
    fn new() -> Self {
        let house = Self { directory: tempfile::tempdir().unwrap(), calls: Calls::default() };
        std::fs::write(house.path().join("test.ecm"), ECM).unwrap();
        house
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path().join("ecelerity.conf"), text).unwrap();
    }

    fn probe(&self, name: &'static str) -> Arc<dyn Module> {
        let (singleton, callable) = (name == "single", name == "callable");
        Arc::new(Probe { name, singleton, callable, calls: self.calls.clone() })
    }

    fn modules(&self, names: &[&'static str], registry: &mut Registry) -> Result<Modules, Vec<Error>> {
        let catalogue = Catalogue::scan(&io_wrapper::IoWrappers::new(), self.path().to_str().unwrap()).unwrap();
        Modules::setup(catalogue, names.iter().map(|name| self.probe(name)).collect(), registry)
    }

    /// Starts with a configuration, up to and including the first generation; forgets the set-up calls.
    fn start(&self, text: &str) -> (Configuration, Modules) {
        let (configuration, modules) = self.try_start(text);
        (configuration.unwrap_or_else(|error| panic!("{error:?}")), modules)
    }

    fn try_start(&self, text: &str) -> (Result<Configuration, config::Diagnostics>, Modules) {
        self.write(text);
        let mut registry = Registry::new();
        let modules = self
            .modules(&["alpha", "base", "callable", "single", "needy", "wide", "wider", "driver"], &mut registry)
            .unwrap();
        self.calls.take();
        let path = self.path().join("ecelerity.conf");
        let configuration = Configuration::load_with(registry, &path, Environment::default(), &mut |generation| {
            let mut hooks = HookSetBuilder::new();
            let loaded = modules.init(generation, None, &mut hooks).map_err(|error| error.to_string())?;
            modules.post_init(&loaded, generation, &mut hooks).map_err(|error| error.to_string())?;
            hang(generation, loaded, hooks)
        });
        (configuration, modules)
    }
}

fn hang(generation: &mut NewGeneration, loaded: Loaded, hooks: HookSetBuilder) -> Result<(), String> {
    generation.extend(Arc::new(loaded));
    generation.extend(hooks.finish());
    Ok(())
}

fn reload(configuration: &Configuration, modules: &Modules) -> Result<Arc<Generation>, config::Diagnostics> {
    let current = configuration.current();
    configuration.reload(&mut |generation| {
        let mut hooks = HookSetBuilder::new();
        let loaded = modules.init(generation, Some(&current), &mut hooks).map_err(|error| error.to_string())?;
        hang(generation, loaded, hooks)
    })
}

/// Who answers the hook in a generation.
fn roll(generation: &Generation) -> Vec<String> {
    let mut roll = Vec::new();
    generation.extension::<HookSet>().unwrap().point::<Roll>().call_now(&mut &mut roll);
    roll
}

#[test]
fn options_are_set_up_once_with_requirements_first() {
    let house = House::new();
    house.modules(&["single", "alpha", "base"], &mut Registry::new()).unwrap();
    assert_eq!(house.calls.take(), ["base setup", "alpha setup", "single setup"]);
}

#[test]
fn a_start_initialises_what_has_a_stanza_in_order_with_what_it_requires() {
    let house = House::new();
    let (configuration, _) = house.start("single { }\nalpha \"b\" { greeting = \"hi\" }\nalpha \"a\" { }\n");
    let expected = [
        "single: Init { privileged: true } hello",
        "base: Init { privileged: true } hello",
        "alpha:b Init { privileged: true } hi",
        "alpha:a Init { privileged: true } hello",
        "single: PostInit hello",
        "base: PostInit hello",
        "alpha:b PostInit hi",
        "alpha:a PostInit hello",
    ];
    assert_eq!(house.calls.take(), expected);
    assert_eq!(roll(&configuration.current()), ["single:", "base:", "alpha:b", "alpha:a"]);
}

#[test]
fn a_reload_initialises_anew_and_the_old_instances_go_with_their_last_user() {
    let house = House::new();
    let (configuration, modules) = house.start("single { }\nalpha \"a\" { }\n");
    let session = configuration.current();
    house.write("alpha \"a\" { greeting = \"hi\" }\nsingle { }\n");
    house.calls.take();
    reload(&configuration, &modules).unwrap();
    let expected = [
        "base: Init { privileged: false } hello",
        "alpha:a Init { privileged: false } hi",
        "single: Init { privileged: false } hello",
    ];
    assert_eq!(house.calls.take(), expected);
    assert_eq!(roll(&session), ["single:", "base:", "alpha:a"], "the session keeps its generation");
    drop(session);
    assert_eq!(house.calls.take(), ["alpha:a destroyed", "base: destroyed"], "not the singleton");
}

#[test]
fn an_error_refuses_the_generation_and_undoes_what_was_done_for_it() {
    let house = House::new();
    let (configuration, modules) = house.start("single { }\n");
    house.calls.take();
    house.write("single { }\nbase { }\nalpha \"bad\" { greeting = \"refuse\" }\n");
    let refused = reload(&configuration, &modules).unwrap_err();
    assert!(format!("{refused:?}").contains("module alpha:bad: that is not a greeting"), "{refused:?}");
    let expected = [
        "single: Init { privileged: false } hello",
        "base: Init { privileged: false } hello",
        "alpha:bad Init { privileged: false } refuse",
        "single: Init { privileged: false } hello",
        "alpha:bad destroyed",
        "base: destroyed",
    ];
    assert_eq!(house.calls.take(), expected);
    assert_eq!(configuration.current().number(), 1);
    assert_eq!(roll(&configuration.current()), ["single:"]);
}

#[test]
fn an_error_at_the_start_keeps_the_daemon_from_starting() {
    let house = House::new();
    let (configuration, _) = house.try_start("alpha \"bad\" { greeting = \"refuse\" }\n");
    assert!(configuration.is_err());
    assert_eq!(house.calls.take().last().unwrap(), "base: destroyed");
    let (configuration, _) = house.try_start("needy { }\n");
    assert!(
        format!("{:?}", configuration.unwrap_err()).contains("module absent is required but not part of this build")
    );
}

#[test]
fn a_failing_setup_and_a_module_without_manifest_are_told_together() {
    let house = House::new();
    let told = |names: &[&'static str]| {
        let errors = house.modules(names, &mut Registry::new()).err().unwrap();
        errors.iter().map(Error::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&["unlisted", "broken"]),
        ["module unlisted: is linked in but has no .ecm file", "module broken: no luck"]
    );
    assert_eq!(told(&["base", "base"]), ["module base: is linked in twice"]);
}

#[test]
fn a_disabled_module_does_nothing_unless_others_call_it_and_then_passively() {
    let house = House::new();
    let text = "base { enabled = false }\ncallable \"c\" { enabled = \"false\" }\n";
    let (configuration, _) = house.start(text);
    let expected = ["callable:c Init { privileged: true } hello", "callable:c PostInit hello"];
    assert_eq!(house.calls.take(), expected);
    assert!(roll(&configuration.current()).is_empty());
    let listed = configuration.current().extension::<Loaded>().unwrap().list();
    assert!(listed.iter().all(|line| !line.enabled));
    drop(configuration);
    assert_eq!(house.calls.take(), ["callable:c destroyed"]);
}

#[test]
fn a_singleton_with_a_name_and_an_unknown_debug_level_are_refused() {
    let house = House::new();
    let (configuration, _) = house.try_start("base { }\nsingle \"two\" { }\n");
    let told = format!("{:?}", configuration.unwrap_err());
    assert!(told.contains("ecelerity.conf:2: module single has one instance only"), "{told}");
    let (configuration, _) = house.try_start("base { debug_level = \"LOUD\" }\n");
    assert!(configuration.is_err());
}

#[test]
fn the_console_lists_and_addresses_instances() {
    let house = House::new();
    let text = "alpha \"a\" { debug_level = \"info\" }\nalpha \"b\" { }\nsingle { }\n";
    let (configuration, _) = house.start(text);
    let loaded = configuration.current().extension::<Loaded>().unwrap();
    let lines: Vec<_> = loaded.list().into_iter().map(|line| (line.module, line.instance, line.debug_level)).collect();
    let line = |module: &str, instance: Option<&str>, level: &str| {
        (module.to_owned(), instance.map(str::to_owned), level.to_owned())
    };
    let expected = [
        line("base", Some(""), "ERROR"),
        line("alpha", Some("a"), "INFO"),
        line("alpha", Some("b"), "ERROR"),
        line("single", None, "ERROR"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(loaded.control("alpha:b", &["rotate"]).unwrap(), "alpha:b heard [\"rotate\"]");
    assert_eq!(loaded.control("Single", &[]).unwrap(), "single: heard []");
    assert_eq!(loaded.control("alpha", &[]).unwrap_err(), "module alpha has several instances; say alpha:INSTANCE");
    assert_eq!(loaded.control("alpha:z", &[]).unwrap_err(), "no module instance is called alpha:z");
}

#[test]
fn using_an_option_loads_the_module_that_offers_it_after_those_with_a_stanza() {
    let house = House::new();
    let text = "domain \"d\" { wide_key = \"x\" }\nalpha \"a\" { }\n";
    let (configuration, modules) = house.start(text);
    let expected = ["base:", "alpha:a", "wide:"];
    assert_eq!(roll(&configuration.current()), expected);
    // No other scope of the option is offered, so that using it there loads nothing.
    house.write("wide_key = \"x\"\nalpha \"a\" { }\n");
    assert_eq!(roll(&reload(&configuration, &modules).unwrap()), ["base:", "alpha:a"]);
    house.write(text);
    assert_eq!(roll(&reload(&configuration, &modules).unwrap()), expected);
}

#[test]
fn of_several_that_offer_an_option_the_one_with_a_stanza_serves() {
    let house = House::new();
    let (configuration, _) = house.start("domain \"d\" { wide_key = \"x\" }\nwider \"w\" { }\n");
    assert_eq!(roll(&configuration.current()), ["wider:w"]);
}

#[test]
fn naming_a_url_loads_the_module_of_its_scheme_before_those_with_a_stanza() {
    let house = House::new();
    let (configuration, _) = house.start("alpha \"a\" { greeting = \"probe://somewhere\" }\n");
    assert_eq!(roll(&configuration.current()), ["driver:", "base:", "alpha:a"]);
}
