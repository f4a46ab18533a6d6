//! A clock that ends a wait for children now and then.

use crate::errno::{check, last_errno};
use crate::signal::{change_mask, set_of};
use std::mem::MaybeUninit;
use std::time::Duration;
use vmatlas_event::Errno;

/// Ignored where nobody waits for it (signal(7)), and so harmless where it comes late.
const SIGNAL: i32 = libc::SIGURG;

/// A timer of the calling thread: while it is on, [`wait_my_children_or_alarm`](crate::wait_my_children_or_alarm) returns
/// again and again without a child.
///
/// It is off at first. An alarm that comes just before the wait begins ends the next but one: at most two intervals pass.
#[derive(Debug)]
pub struct Alarm {
    timer: libc::timer_t,
    interval: Duration,
    is_on: bool,
}

extern "C" fn wake(_signal: i32) {}

impl Alarm {
    /// Makes one for the calling thread, to which it belongs, and unblocks its signal (SIGURG) there: a program that shall have
    /// the mask we were started with is to be started before, or with [`Inherited`](crate::signal::Inherited).
    ///
    /// # Errors
    /// EAGAIN where there is no room for a timer (timer_create(2)).
    pub fn new(interval: Duration) -> Result<Alarm, Errno> {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zeroed plain data is a valid sigaction: no flags, so that the wait ends, and an empty mask.
        let action = unsafe { action.assume_init_mut() };
        action.sa_sigaction = wake as extern "C" fn(i32) as usize;
        // SAFETY: the handler does nothing; the old action is not wanted.
        check(unsafe { libc::sigaction(SIGNAL, action, std::ptr::null_mut()) }.into())?;
        // Whoever started us may have blocked it; a program that we start has got our first mask by now.
        change_mask(libc::SIG_UNBLOCK, &set_of(&[SIGNAL]));
        let mut event = MaybeUninit::<libc::sigevent>::zeroed();
        // SAFETY: zeroed plain data; the fields that matter are set below.
        let event = unsafe { event.assume_init_mut() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        // SAFETY: takes nothing.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: an initialised event, and a valid place for the answer.
        match unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, event, &mut timer) } {
            0 => Ok(Alarm { timer, interval, is_on: false }),
            _ => Err(last_errno()),
        }
    }

    /// Begins to ring after an interval, and after each further one.
    pub fn on(&mut self) {
        if !self.is_on {
            self.is_on = self.set(self.interval);
        }
    }

    /// Rings no more.
    pub fn off(&mut self) {
        if self.is_on {
            self.is_on = !self.set(Duration::ZERO);
        }
    }

    fn set(&self, interval: Duration) -> bool {
        let at = libc::timespec {
            tv_sec: interval.as_secs() as libc::time_t,
            tv_nsec: interval.subsec_nanos().into(),
        };
        let times = libc::itimerspec { it_interval: at, it_value: at };
        // SAFETY: our own timer, which lives as long as this; the old times are not wanted.
        unsafe { libc::timer_settime(self.timer, 0, &times, std::ptr::null_mut()) == 0 }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: our own timer, and nobody uses it any more.
        unsafe { libc::timer_delete(self.timer) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_my_children_or_alarm;
    use std::process::Command;

    /// Checks that a wait for a child that goes on ends without it while the alarm is on, also where the signal was blocked.
    #[test]
    fn an_alarm_ends_a_wait() {
        change_mask(libc::SIG_BLOCK, &set_of(&[SIGNAL]));
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut alarm = Alarm::new(Duration::from_millis(1)).unwrap();
        alarm.on();
        let heard = wait_my_children_or_alarm();
        alarm.off();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(heard, Ok(None));
    }
}
