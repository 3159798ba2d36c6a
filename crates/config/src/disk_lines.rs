//! Where the lines of a changed text stand in the file it came from: an operator looks into the file.
//!
//! Lines at the beginning and at the end that are the same are found first; between them the longest common sequence. Pure.

/// The line on disk, from 1, of each line of a text; zero for one that is not there.
pub(crate) fn disk_lines(text: &str, on_disk: &str) -> Vec<u32> {
    let (lines, disk): (Vec<&str>, Vec<&str>) = (text.lines().collect(), on_disk.lines().collect());
    let begin = lines.iter().zip(&disk).take_while(|(line, other)| line == other).count();
    let most = lines.len().min(disk.len()) - begin;
    let end = lines.iter().rev().zip(disk.iter().rev()).take(most).take_while(|(line, other)| line == other).count();
    let (lines_end, disk_end) = (lines.len() - end, disk.len() - end);
    let mut found = vec![0; lines.len()];
    for (at, place) in found.iter_mut().enumerate() {
        if at < begin {
            *place = at as u32 + 1;
        } else if lines_end <= at {
            *place = (at - lines_end + disk_end) as u32 + 1;
        }
    }
    for (line, other) in common(&lines[begin..lines_end], &disk[begin..disk_end]) {
        found[begin + line] = (begin + other) as u32 + 1;
    }
    found
}

/// The longest common sequence, as pairs of indices; none where that would take too long.
fn common(lines: &[&str], disk: &[&str]) -> Vec<(usize, usize)> {
    if PAIRS_MAX < lines.len().saturating_mul(disk.len()) {
        return Vec::new();
    }
    let width = disk.len() + 1;
    let mut longest = vec![0u32; (lines.len() + 1) * width];
    for (at, line) in lines.iter().enumerate().rev() {
        for (other_at, other) in disk.iter().enumerate().rev() {
            longest[at * width + other_at] = match line == other {
                true => longest[(at + 1) * width + other_at + 1] + 1,
                false => longest[(at + 1) * width + other_at].max(longest[at * width + other_at + 1]),
            };
        }
    }
    let (mut pairs, mut at, mut other_at) = (Vec::new(), 0, 0);
    while at < lines.len() && other_at < disk.len() {
        if lines[at] == disk[other_at] {
            pairs.push((at, other_at));
            (at, other_at) = (at + 1, other_at + 1);
        } else if longest[at * width + other_at + 1] <= longest[(at + 1) * width + other_at] {
            at += 1;
        } else {
            other_at += 1;
        }
    }
    pairs
}

/// Changes far apart in a large file are not compared line by line.
const PAIRS_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_found_where_the_file_has_it_and_a_new_one_nowhere() {
        assert_eq!(disk_lines("a\nb\nc\n", "a\nb\nc\n"), [1, 2, 3]);
        assert_eq!(disk_lines("a\nnew\nb\nc\n", "a\nb\nc\n"), [1, 0, 2, 3]);
        assert_eq!(disk_lines("a\nnew\nb\nother\nc\n", "a\nb\nc\n"), [1, 0, 2, 0, 3]);
        assert_eq!(disk_lines("a\nc\nd\n", "a\nb\nc\nd\n"), [1, 3, 4]);
        assert_eq!(disk_lines("a\na\n", "a\n"), [1, 0]);
        assert_eq!(disk_lines("new\n", ""), [0]);
        assert_eq!(disk_lines("", "a\n"), Vec::<u32>::new());
    }
}
