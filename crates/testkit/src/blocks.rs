//! What a piece of work takes of the CPU on a machine that has other work too.

use std::hint::black_box;
use std::time::Duration;
use vmatlas_event::Errno;
use vmatlas_sys::thread_cpu_time;

/// So much longer than at best the fixed computation may take beside a block that counts.
const TOLERANCE: f64 = 1.03;
/// A machine on which fewer than one block in so many counts is too restless.
const TRIES: u32 = 200;

/// What a block took, in nanoseconds of the thread's own CPU time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blocks {
    /// The least: what nothing disturbed.
    pub least: f64,
    /// Half of them took no more.
    pub median: f64,
}

/// Does the same work in blocks until so many of them count: those before and after which a fixed computation ran at full
/// speed. `work` tells what it took; whatever it does besides is not measured. `None` where too few count.
///
/// # Errors
/// Those of `work`.
pub fn blocks(count: u32, work: impl FnMut() -> Result<Duration, Errno>) -> Result<Option<Blocks>, Errno> {
    beside(computation, count, work)
}

/// The same beside any computation; it tells how long it took.
fn beside(
    mut computation: impl FnMut() -> Duration,
    count: u32,
    mut work: impl FnMut() -> Result<Duration, Errno>,
) -> Result<Option<Blocks>, Errno> {
    const WARM_UP: usize = 100;
    let mut best = (0..WARM_UP).map(|_| computation()).min().unwrap_or_default();
    let mut counted = Vec::new();
    for _ in 0..count.saturating_mul(TRIES) {
        let before = computation();
        let took = work()?;
        let after = computation();
        best = best.min(before).min(after);
        if before.max(after).as_secs_f64() <= best.as_secs_f64() * TOLERANCE {
            counted.push(took.as_nanos() as f64);
        }
        if counted.len() as u64 == u64::from(count) {
            break;
        }
    }
    counted.sort_by(f64::total_cmp);
    let is_enough = counted.len() as u64 == u64::from(count);
    let (least, median) = (counted.first().copied(), counted.get(counted.len() / 2).copied());
    Ok(least.zip(median).filter(|_| is_enough).map(|(least, median)| Blocks { least, median }))
}

/// The CPU time of this thread that some work takes.
///
/// # Errors
/// Those of the work.
pub fn timed(work: impl FnOnce() -> Result<(), Errno>) -> Result<Duration, Errno> {
    let start = thread_cpu_time();
    work()?;
    Ok(thread_cpu_time().saturating_sub(start))
}

/// Always as much, in registers alone: how long it takes tells how fast the processor is at the moment.
fn computation() -> Duration {
    const STEPS: u64 = 20_000;
    let start = thread_cpu_time();
    let steps =
        (0..STEPS).fold(1u64, |x, i| black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i)));
    black_box(steps);
    thread_cpu_time().saturating_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a block counts where the computation before and after it ran at full speed, that too few are none, and that
    /// the work's error ends it.
    #[test]
    fn blocks_count_at_full_speed() {
        let always = || Duration::from_micros(50);
        let mut took = 0..;
        let mut work = || Ok(Duration::from_nanos(took.next().unwrap_or(0)));
        assert_eq!(beside(always, 3, &mut work), Ok(Some(Blocks { least: 0.0, median: 1.0 })));
        // After the warm-up every third computation is a slow one: of three blocks one is between two others.
        let mut times = 0u64;
        let often_slow = || {
            times += 1;
            Duration::from_micros(if times > 100 && times.is_multiple_of(3) { 80 } else { 50 })
        };
        let counted = beside(often_slow, 2, &mut work);
        assert_eq!(counted, Ok(Some(Blocks { least: 4.0, median: 7.0 })));
        let mut times = 0u64;
        let never_again = || {
            times += 1;
            Duration::from_micros(if times > 100 { 80 } else { 50 })
        };
        assert_eq!(beside(never_again, 1, &mut work), Ok(None));
        assert_eq!(blocks(3, || Err(Errno(5))), Err(Errno(5)));
        assert!(timed(|| Ok(())).is_ok());
    }
}
