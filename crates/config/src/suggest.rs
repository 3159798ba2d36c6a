//! The nearest valid names to a misspelt one.

/// Longest name compared; longer ones are nobody's misspelling.
const LENGTH_MAX: usize = 64;

/// Up to three candidates close enough to `word` to be meant, nearest first.
pub(crate) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Vec<&'c str> {
    let word = word.to_ascii_lowercase();
    if word.len() > LENGTH_MAX {
        return Vec::new();
    }
    let limit = (word.len() / 3).clamp(1, 3);
    let mut close: Vec<(usize, &str)> = candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit)
        .map(|candidate| (distance(word.as_bytes(), candidate.to_ascii_lowercase().as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// `"; did you mean `a` or `b`?"`, or nothing.
pub(crate) fn hint<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    match alternatives(&nearest(word, candidates)) {
        list if list.is_empty() => list,
        list => format!("; did you mean {list}?"),
    }
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [init @ .., last] => {
            let init: Vec<_> = init.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", init.join(", "))
        }
    }
}

/// Edits between two words: insertion, deletion, replacement, or two neighbours swapped.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    for (j, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        rows[i * width] = i;
        for j in 1..=b.len() {
            let replaced = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[(i - 2) * width + j - 2] + 1);
            }
            rows[i * width + j] = best;
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let names = ["retry_interval", "max_retry_interval", "max_retries", "tls"];
        assert_eq!(nearest("Retry_Intervall", names.into_iter()), ["retry_interval"]);
        assert_eq!(nearest("rerty_interval", names.into_iter()), ["retry_interval"]);
        assert_eq!(nearest("tsl", names.into_iter()), ["tls"]);
        assert!(nearest("hostname", names.into_iter()).is_empty());
    }
}
