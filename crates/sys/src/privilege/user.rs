//! Users, by number or by name, and how a process becomes one.

use crate::errno::check;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use vmatlas_event::Errno;

/// A user, with what the system knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// All groups, as initgroups(3) would set them.
    pub groups: Vec<u32>,
    /// The name, where there is one.
    pub name: Option<CString>,
    /// The home folder, where one is known.
    pub home: Option<CString>,
}

/// (uid_t) -1: setresuid(2) takes it for "as it is".
const NO_ID: u32 = u32::MAX;

impl User {
    /// The user of a number. One that the system does not know has no name, no home, and the group `gid` alone.
    ///
    /// # Errors
    /// EINVAL for the number that stands for none; what the system's databases failed with.
    pub fn by_uid(uid: u32, gid: u32) -> Result<User, Errno> {
        if uid == NO_ID || gid == NO_ID {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the last four arguments are those that `entry` vouches for.
        let found =
            entry(|place, buf, len, answer| unsafe { libc::getpwuid_r(uid, place, buf, len, answer) })?;
        Ok(found.unwrap_or(User { uid, gid, groups: vec![gid], name: None, home: None }))
    }

    /// The user of a name; `None` where there is none.
    ///
    /// # Errors
    /// What the system's databases failed with.
    pub fn by_name(name: &CStr) -> Result<Option<User>, Errno> {
        // SAFETY: a C string; the last four arguments are those that `entry` vouches for.
        entry(|place, buf, len, answer| unsafe { libc::getpwnam_r(name.as_ptr(), place, buf, len, answer) })
    }

    /// Becomes this user, all threads of the process together.
    pub(super) fn assume(&self) -> Result<(), Errno> {
        // SAFETY: an array of so many numbers.
        check(i64::from(unsafe { libc::setgroups(self.groups.len(), self.groups.as_ptr()) }))?;
        // SAFETY: three numbers.
        check(i64::from(unsafe { libc::setresgid(self.gid, self.gid, self.gid) }))?;
        // SAFETY: three numbers.
        check(i64::from(unsafe { libc::setresuid(self.uid, self.uid, self.uid) })).map(|_| ())
    }
}

/// Becomes a user for good, in a forked child: the calling thread alone, async-signal-safe.
pub(crate) fn become_user(user: &User) -> Result<(), Errno> {
    let (uid, gid) = (user.uid, user.gid);
    // SAFETY: an array of so many numbers.
    check(unsafe { libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) })?;
    // SAFETY: three numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: three numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
    // Until its exec it has our descriptors and our memory, which are not the user's: fs.suid_dumpable could allow that.
    // SAFETY: two numbers.
    check(i64::from(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }))?;
    // With SECBIT_NO_SETUID_FIXUP the kernel would have left them.
    if uid == 0 { Ok(()) } else { super::caps::set(super::Caps::NONE, super::Caps::NONE) }
}

/// Asks a database by one of the functions of getpwnam(3), with room that grows as the answer needs.
///
/// `ask` is given a place for the entry, a buffer and its length, and a place for the answer, all valid.
fn entry(
    ask: impl Fn(*mut libc::passwd, *mut libc::c_char, usize, *mut *mut libc::passwd) -> libc::c_int,
) -> Result<Option<User>, Errno> {
    const FIRST: usize = 1 << 10;
    const MOST: usize = 1 << 20;
    let mut room: Vec<libc::c_char> = vec![0; FIRST];
    loop {
        let mut place = MaybeUninit::<libc::passwd>::zeroed();
        let mut answer = std::ptr::null_mut();
        match ask(place.as_mut_ptr(), room.as_mut_ptr(), room.len(), &mut answer) {
            libc::ERANGE if room.len() < MOST => room.resize(room.len() * 2, 0),
            // Most systems say 0 for what is not there; these are said too (getpwnam(3)).
            0 | libc::ENOENT | libc::ESRCH if answer.is_null() => return Ok(None),
            0 => {
                // SAFETY: filled in, since there is an answer; all zeros would be valid too.
                let found = unsafe { place.assume_init() };
                return Ok(Some(user_of(&found)));
            }
            errno => return Err(Errno(errno)),
        }
    }
}

fn user_of(found: &libc::passwd) -> User {
    let text = |text: *const libc::c_char| {
        // SAFETY: NULL is left out; the strings of an answer lie in the buffer, which outlives this call.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
    };
    let (uid, gid) = (found.pw_uid, found.pw_gid);
    let (name, home) = (text(found.pw_name), text(found.pw_dir));
    let groups = name.as_deref().map_or_else(|| vec![gid], |name| groups(name, gid));
    User { uid, gid, groups, name, home: home.filter(|home| !home.is_empty()) }
}

/// The groups of a user, the first one among them.
fn groups(name: &CStr, first: u32) -> Vec<u32> {
    // NGROUPS_MAX (include/uapi/linux/limits.h).
    const MOST: usize = 1 << 16;
    // Filled with the one that is known: no group is given by mistake.
    let mut groups = vec![first; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: a C string, and an array with room for `count` numbers.
        let ret = unsafe { libc::getgrouplist(name.as_ptr(), first, groups.as_mut_ptr(), &mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if ret >= 0 {
            groups.truncate(count);
            return groups;
        }
        // The database fails, or says more than the kernel takes: without more room being asked for, nothing is known.
        if count <= groups.len() || count > MOST {
            return vec![first];
        }
        groups.resize(count, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that root is found by number and by name, that its groups are there, and that a number nobody has is a user
    /// with the group it was given.
    #[test]
    fn users_are_found() {
        let root = User::by_uid(0, 7).unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_deref()), (0, 0, Some(c"root")));
        assert!(root.home.is_some() && root.groups.contains(&0), "{root:?}");
        assert_eq!(User::by_name(c"root"), Ok(Some(root)));
        assert_eq!(User::by_name(c"nobody has this name"), Ok(None));
        let stranger = User::by_uid(3_999_999_999, 5).unwrap();
        assert_eq!((stranger.gid, stranger.groups, stranger.name), (5, vec![5], None));
        assert_eq!(User::by_uid(u32::MAX, 5), Err(Errno(libc::EINVAL)));
    }
}
