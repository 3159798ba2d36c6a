//! The modules of this build load when they are made use of, without a stanza of their own.

use config::Configuration;
use declarations::Declarations;
use hooks::HookSetBuilder;

/// The modules that a configuration loads, in order.
fn loaded_by(text: &str) -> Vec<String> {
    let declared = Declarations::offline().expect("sound declarations");
    let configuration = Configuration::of_text(declared.registry, text).expect("a valid text");
    let loaded = declared.modules.init(&configuration.current(), None, &mut HookSetBuilder::new());
    loaded.expect("modules that start").list().into_iter().map(|one| one.module).collect()
}

#[test]
fn a_log_that_goes_to_a_url_loads_the_module_of_its_scheme_first() {
    let plain = "ec_logger \"l\" { enabled = false }";
    assert_eq!(loaded_by(plain), ["ec_logger"]);
    let to_jlog = "ec_logger \"l\" { enabled = false  mainlog = \"jlog:///var/log/postrider/mainlog=>reader\" }";
    assert_eq!(loaded_by(to_jlog), ["jlog", "ec_logger"]);
    let to_syslog = "ec_logger \"l\" { enabled = false  paniclog = \"syslog://?facility=mail\" }";
    assert_eq!(loaded_by(to_syslog), ["syslog_io", "ec_logger"]);
}
