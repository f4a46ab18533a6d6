//! What came of it, as text.

use super::summary::Summary;
use std::fmt::Write;
use std::time::Duration;

/// The sums, and a line for each call.
pub(super) fn table(sums: &Summary, took: Duration) -> String {
    let mut text = String::new();
    let width = sums.calls.keys().map(String::len).max().unwrap_or(0).max("call".len());
    // Writing to a String does not fail.
    let _ = writeln!(text, "{:width$} {:>10} {:>10}", "call", "done", "failed");
    for (name, (done, failed)) in &sums.calls {
        let _ = writeln!(text, "{name:width$} {done:>10} {failed:>10}");
    }
    let total = sums.total();
    let or_unknown = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
    let share = match sums.asked {
        Some(asked) if total > 0 => format!("{asked} ({:.1} %)", 100.0 * asked as f64 / total as f64),
        asked => or_unknown(asked),
    };
    let failed: u64 = sums.calls.values().map(|(_, failed)| failed).sum();
    let _ = writeln!(text, "calls      {total}, of which {failed} failed");
    let compared =
        sums.compared.map_or("none: not asked for, or this vmatlas cannot".to_owned(), |n| n.to_string());
    let _ = writeln!(text, "compared   {compared} (skipped {})", sums.skipped);
    let _ = writeln!(text, "different  {}", sums.differences);
    let _ = writeln!(text, "asked      {share}");
    let _ = writeln!(text, "conflicts  {}", or_unknown(sums.conflicts));
    let _ = writeln!(text, "drift      {}", sums.drift);
    let _ = writeln!(text, "seconds    {:.1}", took.as_secs_f64());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the table letter by letter, and that what is not known is said to be unknown.
    #[test]
    fn sums_are_written() {
        let mut sums = Summary { compared: Some(5), asked: Some(1), ..Summary::default() };
        sums.calls.insert("mprotect".to_owned(), (3, 2));
        let text = table(&sums, Duration::from_millis(1500));
        let wanted = "call           done     failed\nmprotect          3          2\ncalls      5, of which 2 failed\n\
                      compared   5 (skipped 0)\ndifferent  0\nasked      1 (20.0 %)\nconflicts  unknown\ndrift      0\n\
                      seconds    1.5\n";
        assert_eq!(text, wanted);
        assert!(table(&Summary::default(), Duration::ZERO).contains("compared   none"));
    }
}
