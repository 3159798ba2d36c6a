//! Words of other mail transfer agents: what to write here for each.
//!
//! In: a word that nobody declares. Out: whose it is, and what is meant here. A near spelling of it would mostly be another
//! thing: `relayhost` is no `relay_hosts`. Pure; the data file is part of the program, and tests hold what it names to the
//! options there are.

/// What an operator is told instead of the nearest spelling.
pub(crate) fn translation(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    let begins = |row: &(&str, &str, &str)| row.0.strip_suffix('*').is_some_and(|start| word.starts_with(start));
    let family = || rows().filter(begins).max_by_key(|row| row.0.len());
    rows().find(|(own, ..)| *own == word).or_else(family).map(|(_, product, here)| match here.strip_prefix("nothing") {
        Some(why) => format!("it is a word of {product}; write nothing{why}"),
        None => format!("it is a word of {product}; write here: {here}"),
    })
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FOREIGN.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?, fields.next()?, fields.next()?))
    })
}

const FOREIGN: &str = include_str!("foreign.tsv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relayhost_is_a_gateway_and_no_list_of_clients() {
        let told = translation("RelayHost").expect("a word of Postfix");
        assert!(told.starts_with("it is a word of Postfix; write here: gateway = "), "{told}");
        assert!(translation("retry_intervall").is_none());
        let told = translation("smtpd_tls_dh1024_param_file").expect("a family of words");
        assert!(told.contains("tls_certificate and tls_key in a listener"), "{told}");
    }

    #[test]
    fn every_line_is_read_and_many_words_are_known() {
        assert_eq!(rows().count(), FOREIGN.lines().filter(|line| !line.starts_with('#')).count());
        let of = |product: &str| rows().filter(|row| row.1 == product).count();
        assert!(100 < of("Postfix") && 15 < of("KumoMTA") && 25 < of("PowerMTA"));
    }
}
