//! What a process may do: its capabilities, its user, and how both are given up for good.
//!
//! Everything here only lowers. [`lower`] is for ourselves, once what needs privileges is open; [`User`] is also who a
//! program that we start shall be.

mod caps;
mod user;

pub use caps::{Cap, Caps};
pub use user::User;

pub(crate) use user::become_user;

use crate::errno::check;
use vmatlas_event::Errno;

/// Gives up all capabilities but these, as far as we have them; with `user` our user and groups too. Nothing brings them
/// back: what is executed from now on gains nothing either (no_new_privs).
///
/// It is to be called while there is one thread: others would keep the capabilities that they have (capabilities(7)).
/// Once our user is another one we are not dumpable: who owns us now may neither trace us nor read our memory or
/// descriptors, which would be worth what is kept.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID, EINVAL where the user does not exist in our user namespace. What was given up
/// until then stays so.
pub fn lower(keep: Caps, user: Option<&User>) -> Result<(), Errno> {
    let kept = keep.intersection(Caps::permitted()?);
    if let Some(user) = user {
        // Else setresuid(2) would clear the permitted set too.
        prctl(libc::PR_SET_KEEPCAPS, 1)?;
        user.assume()?;
        prctl(libc::PR_SET_KEEPCAPS, 0)?;
        // The kernel sets it by fs.suid_dumpable, which may say otherwise.
        prctl(libc::PR_SET_DUMPABLE, 0)?;
    }
    // Kernels before 4.3 have no ambient capabilities.
    let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong);
    caps::set(kept, kept)?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// What `ask` says when only these capabilities are in force; afterwards all are again that were.
///
/// # Errors
/// Those of capset(2), which are not to be expected.
pub fn with_only<T>(keep: Caps, ask: impl FnOnce() -> T) -> Result<T, Errno> {
    let (permitted, effective) = (Caps::permitted()?, Caps::effective()?);
    caps::set(keep.intersection(effective), permitted)?;
    let answer = ask();
    caps::set(effective, permitted)?;
    Ok(answer)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> Result<(), Errno> {
    let none: libc::c_ulong = 0;
    // SAFETY: numbers only; none of the options used here takes an address.
    check(i64::from(unsafe { libc::prctl(option, value, none, none, none) })).map(|_| ())
}
