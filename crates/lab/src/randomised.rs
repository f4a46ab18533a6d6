//! How the kernel chooses addresses at random (proc_sys_kernel(5), randomize_va_space): what can be known of it before.

use crate::elf::Elf;
use std::fs::{self, File};
use vmatlas_event::PageSize;

/// What the machine and this program say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Randomised {
    /// kernel.randomize_va_space: 0 not at all, 1 without the heap, 2 all; `None` where it cannot be read.
    pub(crate) setting: Option<u64>,
    /// Whether ADDR_NO_RANDOMIZE of personality(2) is set, as by setarch(8) -R.
    pub(crate) switched_off: bool,
    /// vm.mmap_rnd_bits, which root alone may read, or else the least that the kernel accepts.
    pub(crate) map_bits: u32,
    /// The same of the stack, in pages.
    pub(crate) stack_bits: u32,
    /// Whether this program can be at any address (PIE).
    pub(crate) is_pie: bool,
    /// Whether ld.so loads it; else it is itself placed where libraries are.
    pub(crate) has_loader: bool,
    /// What its address is a multiple of.
    pub(crate) align: u64,
}

/// How many bits of an address are chosen at random: exactly none, or so many.
pub(crate) type Bits = u32;

impl Randomised {
    /// Looks; `None` where the program's own file cannot be read, and in user-mode Linux, which chooses in ways of its own.
    pub(crate) fn read(page: PageSize) -> Option<Randomised> {
        if crate::machine::is_user_mode() {
            return None;
        }
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let elf = Elf::read(File::open("/proc/self/exe").ok()?)?;
        // arch/x86/Kconfig and arch/arm64/Kconfig, ARCH_MMAP_RND_BITS_MIN; STACK_RND_MASK of asm/elf.h.
        let (least, stack_bits) = if cfg!(target_arch = "x86_64") { (28, 22) } else { (18, 18) };
        Some(Randomised {
            setting: number("/proc/sys/kernel/randomize_va_space").map(u64::from),
            switched_off: vmatlas_sys::addr_no_randomize(),
            map_bits: number("/proc/sys/vm/mmap_rnd_bits").unwrap_or(least),
            stack_bits,
            is_pie: !elf.is_fixed,
            has_loader: elf.interpreter.is_some(),
            align: elf.align(page),
        })
    }

    /// Whether anything is chosen at random; `None` where that cannot be known.
    pub(crate) fn is_on(&self) -> Option<bool> {
        if self.switched_off { Some(false) } else { self.setting.map(|setting| setting > 0) }
    }

    /// The bits of the program's address, above those of its alignment.
    pub(crate) fn program_bits(&self, page: PageSize) -> Bits {
        let lost = (self.align / page.bytes()).max(1).ilog2();
        if self.is_pie { self.map_bits.saturating_sub(lost) } else { 0 }
    }

    /// The bits of the heap's: the program's and more, or for a program with a fixed address 32 MiB of pages
    /// (arch_randomize_brk()).
    pub(crate) fn heap_bits(&self, page: PageSize) -> Bits {
        match (self.is_pie, self.setting) {
            (true, _) => self.program_bits(page),
            (false, Some(2)) => (32u64 << 20).checked_div(page.bytes()).unwrap_or(1).ilog2(),
            (false, _) => 0,
        }
    }
}

/// How many of so many random bits are certainly seen to differ among addresses of so many starts: with fewer, somebody
/// would have had luck of one in a thousand million.
pub(crate) fn certainly_seen(bits: Bits, starts: u64) -> u64 {
    const LUCK: f64 = 1e-9;
    // A bit is the same in all starts as often as all coins but the first fall like the first.
    let same = 0.5f64.powi(starts.saturating_sub(1).min(1000) as i32);
    let mut chance = 0.0;
    // Ways to choose which bits differ, summed up from none of them.
    let mut ways = 1.0;
    for seen in 0..bits {
        chance += ways * (1.0 - same).powi(seen as i32) * same.powi((bits - seen) as i32);
        if chance > LUCK {
            return seen.into();
        }
        ways *= f64::from(bits - seen) / f64::from(seen + 1);
    }
    bits.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the bound: none of no bits, hardly any of two starts, nearly all of many.
    #[test]
    fn the_bound_grows_with_starts() {
        assert_eq!(certainly_seen(0, 8), 0);
        let bounds: Vec<u64> = [2, 4, 8, 16, 64].map(|starts| certainly_seen(28, starts)).into();
        assert!(bounds.is_sorted() && bounds[0] <= 2 && bounds[2] >= 20 && bounds[4] >= 27, "{bounds:?}");
        assert!(certainly_seen(28, 1) == 0 && certainly_seen(28, u64::MAX) == 28);
    }

    /// Checks that what lies between pages is not random, and that a fixed program leaves the heap its own.
    #[test]
    fn alignment_takes_bits() {
        let all = Randomised {
            setting: Some(2),
            switched_off: false,
            map_bits: 28,
            stack_bits: 22,
            is_pie: true,
            has_loader: true,
            align: 64 << 10,
        };
        let page = PageSize::FOUR_KIB;
        assert_eq!((all.program_bits(page), all.heap_bits(page)), (24, 24));
        let fixed = Randomised { is_pie: false, ..all };
        assert_eq!((fixed.program_bits(page), fixed.heap_bits(page)), (0, 13));
        assert_eq!(Randomised { setting: Some(1), ..fixed }.heap_bits(page), 0);
    }
}
