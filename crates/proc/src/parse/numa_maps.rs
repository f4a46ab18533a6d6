//! /proc/PID/numa_maps (numa(7)): the memory policy of each VMA.

use vmatlas_event::Addr;

/// Where each VMA starts, and its policy as the kernel writes it (`default`, `bind:0-1`); other lines are passed over.
pub fn policies(text: &[u8]) -> impl Iterator<Item = (Addr, &[u8])> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut words = line.split(|b| *b == b' ');
        let addr = u64::from_str_radix(std::str::from_utf8(words.next()?).ok()?, 16).ok()?;
        Some((Addr(addr), words.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that starts and policies are read, and that nonsense is passed over.
    #[test]
    fn policies_are_read() {
        let text = b"00400000 default file=/bin/x mapped=1\nnonsense\n7f00 bind:0-1 anon=1\n\n";
        let found: Vec<_> = policies(text).collect();
        assert_eq!(found, [(Addr(0x40_0000), &b"default"[..]), (Addr(0x7f00), b"bind:0-1")]);
    }
}
