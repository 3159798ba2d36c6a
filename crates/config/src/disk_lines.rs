//! Where the lines of a changed text stand in the file it came from: an operator looks into the file.
//!
//! Lines at the beginning and at the end that are the same are found first; between them the longest common sequence. What
//! stands unchanged in a changed line is found by its words. Pure.

use std::ops::Range;

/// Where a text is on disk.
#[derive(Debug, Default)]
pub(crate) struct DiskLines {
    /// The line, from 1, of each line; zero for one that is not there as it is.
    lines: Vec<u32>,
    /// The words that are there all the same: their bytes in the text, and line and column on disk.
    words: Vec<(Range<usize>, (usize, usize))>,
}

impl DiskLines {
    pub fn of(text: &str, on_disk: &str) -> Self {
        let lines = disk_lines(text, on_disk);
        let words = words_of_changed_lines(text, on_disk, &lines);
        DiskLines { lines, words }
    }

    /// Line and column on disk of what stands at a byte, in a line (from 1) and column of the text; none if it is not there.
    pub fn find(&self, at: usize, line: usize, column: usize) -> Option<(usize, usize)> {
        if let Some(line) = self.lines.get(line - 1).filter(|line| **line != 0) {
            return Some((*line as usize, column));
        }
        let next = self.words.partition_point(|(word, _)| word.end <= at);
        self.words.get(next).filter(|(word, _)| word.contains(&at)).map(|(_, place)| *place)
    }
}

/// The words of lines that are not on disk which are there, in the lines of the file that the text has not.
fn words_of_changed_lines(text: &str, on_disk: &str, lines: &[u32]) -> Vec<(Range<usize>, (usize, usize))> {
    let disk: Vec<(usize, &str)> = starts(on_disk).collect();
    let all: Vec<(usize, &str)> = starts(text).collect();
    let (mut found, mut at, mut disk_at) = (Vec::new(), 0, 0);
    while at < all.len() {
        let end = (at..all.len()).find(|line| lines[*line] != 0).unwrap_or(all.len());
        let disk_end = lines.get(end).map_or(disk.len(), |line| *line as usize - 1);
        if at < end {
            let words: Vec<(usize, usize, &str)> = (at..end).flat_map(|line| words_at(line, all[line])).collect();
            let others: Vec<(usize, usize, &str)> =
                (disk_at..disk_end).flat_map(|line| words_at(line, disk[line])).collect();
            let own: Vec<&str> = words.iter().map(|word| word.2).collect();
            let theirs: Vec<&str> = others.iter().map(|word| word.2).collect();
            for (word, other) in common(&own, &theirs) {
                let ((_, start, word), (line, start_there, _)) = (words[word], others[other]);
                let column = on_disk[disk[line].0..start_there].chars().count() + 1;
                found.push((start..start + word.len(), (line + 1, column)));
            }
        }
        (at, disk_at) = (end + 1, disk_end + 1);
    }
    found
}

/// Each line with the byte it starts at.
fn starts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = next;
        next += line.len();
        (start, line)
    })
}

/// The words of a line: the line, the byte each starts at, and its text.
fn words_at(line: usize, (start, text): (usize, &str)) -> impl Iterator<Item = (usize, usize, &str)> {
    let offset = move |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(move |word| (line, start + offset(word), word))
}

/// The line on disk, from 1, of each line of a text; zero for one that is not there.
fn disk_lines(text: &str, on_disk: &str) -> Vec<u32> {
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

    #[test]
    fn what_stands_unchanged_in_a_changed_line_is_found_and_what_is_new_is_not() {
        let text = "a\nb\nd { x = 1 y = 2 }\nc\n";
        let found = DiskLines::of(text, "more\na\nb\n  d { x = 1 }\nc\n");
        let at = |what: &str| text.find(what).and_then(|at| found.find(at, 3, at - 3));
        assert_eq!((at("d {"), at("x ="), at("y ="), at("2")), (Some((4, 3)), Some((4, 7)), None, None));
        assert_eq!(found.find(0, 1, 1), Some((2, 1)), "a line that moved");
    }
}
