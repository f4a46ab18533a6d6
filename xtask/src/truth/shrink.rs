//! Delta debugging: the smallest part of a list that still has a property.

/// Zeller's ddmin: removes what can be removed, in ever smaller pieces, while `still` holds of what is left.
///
/// `still` is asked of proper parts only; it holds of the whole by assumption. What is given back has the property, and
/// has lost it when any single item is taken away, unless `still` gave up on the way.
pub(super) fn ddmin<T: Clone>(whole: &[T], still: &mut impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut rest = whole.to_vec();
    let mut pieces = 2;
    while rest.len() >= 2 {
        let size = rest.len().div_ceil(pieces);
        let without = |at: usize| -> Vec<T> {
            let kept = rest.iter().enumerate().filter(|(index, _)| index / size != at);
            kept.map(|(_, item)| item.clone()).collect()
        };
        // From the end: what comes after the fault is the first that can go.
        let smaller = (0..rest.len().div_ceil(size)).rev().map(without).find(|part| still(part));
        match smaller {
            Some(part) => {
                rest = part;
                pieces = (pieces - 1).max(2);
            }
            None if size == 1 => break,
            None => pieces = (pieces * 2).min(rest.len()),
        }
    }
    if rest.len() == 1 && still(&[]) { Vec::new() } else { rest }
}

/// Takes away single words, but for the first of each line, while `still` holds of what is left.
pub(super) fn without_words(lines: &[String], still: &mut impl FnMut(&[String]) -> bool) -> Vec<String> {
    let mut best = lines.to_vec();
    for line in 0..best.len() {
        let mut at = 1;
        while at < best[line].split_ascii_whitespace().count() {
            let mut shorter = best.clone();
            shorter[line] = without_word(&best[line], at);
            if still(&shorter) {
                best = shorter;
            } else {
                at += 1;
            }
        }
    }
    best
}

/// Without one word, and without the `to` before it; the blanks at the beginning stay.
fn without_word(line: &str, at: usize) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let from = if at > 1 && words[at - 1] == "to" { at - 1 } else { at };
    let kept: Vec<&str> = words[..from].iter().chain(&words[at + 1..]).copied().collect();
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", &line[..indent], kept.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a pair far apart is found among many, in few steps, and that its order stays.
    #[test]
    fn a_pair_is_found() {
        let whole: Vec<u32> = (0..200).collect();
        let mut asked = 0;
        let found = ddmin(&whole, &mut |part| {
            asked += 1;
            part.contains(&17) && part.contains(&161)
        });
        assert_eq!(found, [17, 161]);
        assert!(asked < 200, "asked {asked} times");
    }

    /// Checks the edges: one item alone, nothing at all, everything needed, and a list that cannot shrink.
    #[test]
    fn edges_are_found() {
        let whole: Vec<u32> = (0..9).collect();
        assert_eq!(ddmin(&whole, &mut |part| part.contains(&8)), [8]);
        assert_eq!(ddmin(&whole, &mut |_| true), [0; 0]);
        assert_eq!(ddmin(&whole, &mut |_| false), whole);
        assert_eq!(ddmin(&[1], &mut |_| false), [1]);
        assert_eq!(ddmin::<u32>(&[], &mut |_| true), [0; 0]);
    }

    /// Checks that words go that are not needed, and that those which are needed stay, with their blanks.
    #[test]
    fn words_that_are_not_needed_go() {
        let lines = ["fork", "  mmap 3 4 rw private fixed populate to s5"].map(str::to_owned);
        let mut still = |lines: &[String]| lines[1].contains("mmap 3 4 rw private") && lines[0] == "fork";
        assert_eq!(without_words(&lines, &mut still), ["fork", "  mmap 3 4 rw private"]);
    }
}
