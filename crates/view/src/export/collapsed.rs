//! Collapsed stacks: a line for each stack, `outermost;...;innermost VALUE`.

use super::Profile;
use std::collections::BTreeMap;

/// Stacks by one weight, sorted by text; those of weight 0 are left out.
///
/// In names `;` becomes `:`, for it parts frames; spaces may stay, since the value follows the last one. A stack without
/// frames is `[none]`.
pub fn collapsed(profile: &Profile, weight: usize) -> String {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for sample in &profile.samples {
        let value = sample.value(weight);
        if value > 0 {
            let labels = profile.labels(sample).iter().map(|l| l.replace(';', ":")).collect::<Vec<_>>();
            let stack = if labels.is_empty() { "[none]".to_owned() } else { labels.join(";") };
            let sum = lines.entry(stack).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    lines.into_iter().map(|(stack, value)| format!("{stack} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    /// Checks both weights; a line is a line, whatever a name has in it.
    #[test]
    fn a_line_is_a_stack() {
        assert_eq!(
            collapsed(&profile(), 1),
            "main;a:b 7\\x0a\\x1b[31m\\xff\\u{202e};libc.so.6+0x500 10\n\
             main;grow;fill(int, char);mmap 12288\n"
        );
        let calls = collapsed(&profile(), 0);
        assert!(calls.contains("[truncated];0x7f000000;a+0x400;mmap 1\n"), "{calls}");
        assert!(calls.starts_with("[none] 1\n"), "{calls}");
        assert_eq!(collapsed(&profile(), 7), "");
    }
}
