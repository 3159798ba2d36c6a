//! The formatter: layout changes, and nothing else.

use config::format;

/// What formatting a text gives; formatting that again must change nothing.
fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    let twice = format(&once).unwrap_or_else(|refused| panic!("{once}\n{}", refused.render(false)));
    assert_eq!(once, twice, "a second time changes nothing");
    once
}

#[test]
fn one_statement_a_line_and_two_blanks_a_level() {
    assert_eq!(
        formatted(
            "hostname=\"mx\" Retry_Interval   =\t900\r\n\n\n\nbinding_group 'g'\n{\n\n\n\tbinding b1 {\ngateway = 10.0.0.1 }\n\n\n}\ninclude\n\"x\" readonly_include y"
        ),
        r#"hostname = "mx"
Retry_Interval = 900

binding_group 'g' {
  binding b1 {
    gateway = 10.0.0.1
  }
}
include "x"
readonly_include y
"#
    );
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\n\n \u{feff}".trim_end_matches('\u{feff}')), "");
}

#[test]
fn a_stanza_written_on_one_line_stays_on_one_while_it_is_short() {
    assert_eq!(
        formatted(
            "domain \"a\" {retry_interval=5 tls=no}\nESMTP_Listener { Listen \":25\" { } Listen \":26\" {x=( 1 )} }\nopendkim {}"
        ),
        "domain \"a\" { retry_interval = 5  tls = no }\nESMTP_Listener { Listen \":25\" { }  Listen \":26\" { x = ( 1 ) } }\nopendkim { }\n"
    );
    let long = format!("a {{ b {{ c = {} }} d = {} }}", "x".repeat(60), "y".repeat(60));
    assert_eq!(formatted(&long), format!("a {{\n  b {{ c = {} }}\n  d = {}\n}}\n", "x".repeat(60), "y".repeat(60)));
}

#[test]
fn comments_stay_where_they_stand() {
    assert_eq!(
        formatted(
            "# top  \n\n\n# about a\na = 1# behind\nb = 2 /* behind b */ c = 3\n/* before d */ d = 4\nx { # of x\n\n# own\ny = 1\n  # last\n} # after x\nz { /* in z */ }\n/* two\n   lines */\n# end"
        ),
        "# top\n\n# about a\na = 1  # behind\nb = 2  /* behind b */\nc = 3\n/* before d */\nd = 4\nx {  # of x\n  # own\n  y = 1\n  # last\n}  # after x\nz {  /* in z */\n}\n/* two\n   lines */\n# end\n"
    );
}

#[test]
fn comments_inside_a_statement_keep_it_readable() {
    assert_eq!(
        formatted("a /* x */ = /* y */ 5\ndomain # why\n \"d\" # who\n { }\nb = # c\n \"5\""),
        "a /* x */ = /* y */ 5\ndomain  # why\n  \"d\"  # who\n  { }\nb =  # c\n  \"5\"\n"
    );
}

#[test]
fn lists_keep_their_lines() {
    assert_eq!(
        formatted(
            "a = (1 2,3 ,  4)\nb = ( )\nc = [k=v, \"k 2\"  =  \"v\"]\nd { e = ( one  two\n three, # third\n\n\n # own\n four ) }\nf = ( # what\n 1\n)\ng = [\n a = 1 b = 2\n c = 3 ]"
        ),
        "a = ( 1 2, 3, 4 )\nb = ()\nc = [ k = v, \"k 2\" = \"v\" ]\nd {\n  e = (\n    one two\n    three,  # third\n\n    # own\n    four\n  )\n}\nf = (  # what\n  1\n)\ng = [\n  a = 1 b = 2\n  c = 3\n]\n"
    );
}

#[test]
fn values_keep_their_quotes_references_and_line_ends() {
    let text = "a = 'x  y'\nb = $\"${A:-x  y}\\t\"\nc = ${A:-#  not a comment}\nd = \"two\n  lines\"\nif_env \"A=/b  c/\" { e = ( ${F...} ) }\n";
    assert_eq!(formatted(text), text);
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_its_mistakes() {
    let refused = format("a = \"b\nc { d = 1").expect_err("two mistakes");
    let text = refused.render(false);
    assert!(text.contains("this string is never closed") && text.contains("`c {` is never closed"), "{text}");
    assert!(text.contains("(text):1:5"), "{text}");
}

#[test]
fn the_examples_of_the_manual_parse_and_are_laid_out_so() {
    let manual = include_str!("../../../doc/manual/configuration-language.md");
    let examples: Vec<_> = manual.split("```ecelerity\n").skip(1).filter_map(|rest| rest.split_once("```")).collect();
    assert!(examples.len() >= 5);
    for (example, _) in examples {
        assert_eq!(formatted(example), example);
    }
    let shipped = include_str!("../../../etc/ecelerity.conf");
    assert_eq!(formatted(shipped), shipped);
}
