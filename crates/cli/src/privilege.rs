//! Whom a program runs as, whom files belong to, and what of our privileges we keep.
//!
//! What needs privileges is opened first: BPF programs, the program itself, which is forked and waits. Then [`People::lower`]
//! gives up all that reading the maps of others does not need, and only then threads are started, files written, and what
//! a program does is looked at. So files are made with the rights of their owner: no link that is in the way leads further
//! than where that user could write anyway.

use crate::context::Context;
use crate::failure::Failure;
use crate::texts;
use anyhow::anyhow;
use clap::Args;
use std::ffi::{CString, OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use vmatlas_event::Errno;
use vmatlas_sys::privilege::{Cap, Caps, User, lower};
use vmatlas_view::escape;

/// Maps of processes of others, the files that are mapped, deleted ones too. Nothing of it writes.
const READING: Caps = Caps::of(&[Cap::SysPtrace, Cap::DacReadSearch, Cap::CheckpointRestore]);
/// What root keeps who stays root, and to whom most of the system belongs anyway: files are made in folders of others, and
/// signals passed on to a program that has become another user. An ordinary user would gain by both.
const ROOTS: Caps = Caps::of(&[Cap::DacOverride, Cap::Kill]);
/// What sending signals to a program of another user needs.
const SIGNALS: Caps = Caps::of(&[Cap::Kill]);
/// What page-fault events need that are opened after the rest was given up.
pub(crate) const FAULT_EVENTS: Caps = Caps::of(&[Cap::Perfmon, Cap::IpcLock]);

/// The options of `run`.
#[derive(Args, Debug)]
pub(crate) struct UserArgs {
    /// Started through sudo, doas or pkexec: run the program as root all the same; files are root's then
    #[arg(long, conflicts_with = "user")]
    as_root: bool,
    /// Run the program as this user (root only)
    #[arg(long, value_name = "NAME")]
    user: Option<OsString>,
}

/// Whom things belong to.
#[derive(Debug)]
pub(crate) struct People {
    /// Whom the program runs as; `None` for whom we are.
    pub(crate) program: Option<User>,
    /// Whom files belong to, and who we are once privileges are given up; `None` for whom we are now.
    owner: Option<User>,
    /// How we became root, where that changes something.
    via: Option<&'static str>,
}

impl People {
    /// Of a program that we start.
    pub(crate) fn of_run(args: &UserArgs, context: &Context) -> Result<People, Failure> {
        let mut people = People::of_attach(args.as_root, context)?;
        match &args.user {
            None => people.program = people.owner.clone(),
            Some(_) if !is_root() => {
                return Err(anyhow!(texts::USER_NEEDS_ROOT.get(context.lang)).into());
            }
            Some(name) => people.program = Some(named(name, context)?),
        }
        Ok(people)
    }

    /// Of a process that is there already.
    pub(crate) fn of_attach(as_root: bool, context: &Context) -> Result<People, Failure> {
        let (owner, via) = match invoker(context)? {
            Some((via, user)) if !as_root => (Some(user), Some(via)),
            _ => (None, None),
        };
        Ok(People { program: None, owner, via })
    }

    /// Says as whom the program runs, where that is another user than who we are now and nobody asked for it.
    pub(crate) fn note(&self, context: &Context) -> Option<String> {
        let (owner, via) = (self.owner.as_ref()?, self.via?);
        if self.program.as_ref() != Some(owner) {
            return None;
        }
        let user = shown(owner);
        let values: [(&str, &dyn Display); 2] = [("via", &via), ("user", &user)];
        Some(texts::RUNS_AS.fill(context.lang, &values))
    }

    /// The environment of the program; `None` for ours.
    pub(crate) fn environment(&self) -> Option<Vec<CString>> {
        self.program.as_ref().map(|user| environment(std::env::vars_os(), user))
    }

    /// Gives up what is not needed any more, for good; `more` is kept besides what reading needs.
    pub(crate) fn lower(&self, more: Caps, context: &Context) -> Result<(), Failure> {
        let owner = self.owner.as_ref();
        if owner.is_none() && Caps::permitted() == Ok(Caps::NONE) {
            return Ok(());
        }
        // A program of somebody else gets signals from us all the same.
        let is_others = self.program.is_some() && self.program != self.owner;
        let to_signal = if is_others { SIGNALS } else { Caps::NONE };
        let keep = READING.union(more).union(if owner.is_none() { ROOTS } else { to_signal });
        lower(keep, owner).map_err(|errno| self.cannot_lower(errno, context))
    }

    fn cannot_lower(&self, errno: Errno, context: &Context) -> Failure {
        let why = vmatlas_sys::errno_text(errno);
        anyhow!(texts::CANNOT_LOWER.fill(context.lang, &[("why", &why)])).into()
    }
}

/// Who became root to start us, where `run` and `attach` make something of it; for `vmatlas doctor`.
pub(crate) fn invoker_name(context: &Context) -> Option<(&'static str, String)> {
    invoker(context).ok().flatten().map(|(via, user)| (via, shown(&user)))
}

fn is_root() -> bool {
    (vmatlas_sys::real_uid(), vmatlas_sys::effective_uid()) == (0, 0)
}

/// The name of a user, or its number.
fn shown(user: &User) -> String {
    match &user.name {
        Some(name) => escape::terminal(name.as_bytes()),
        None => user.uid.to_string(),
    }
}

/// What the environment says of who became root, and by what; it is believed to lower privileges, never to raise them.
#[derive(Debug, PartialEq, Eq)]
enum Hint {
    Nobody,
    /// A user, and the group where the system knows none.
    Uid(&'static str, u32, u32),
    Name(&'static str, OsString),
    /// A variable that holds no number of a user.
    Bad(&'static str, OsString),
}

/// The group of nobody in particular (`DEFAULT_OVERFLOWGID`), for a user of whom nothing is known. Not root's in any case.
const NO_GROUP: u32 = 65_534;

fn hint(get: impl Fn(&str) -> Option<OsString>) -> Hint {
    let number = |text: &OsStr| {
        let text = text.to_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse::<u32>().ok().filter(|number| *number != u32::MAX)
    };
    let gid = || get("SUDO_GID").as_deref().and_then(number).filter(|gid| *gid != 0).unwrap_or(NO_GROUP);
    for (via, variable) in [("sudo", "SUDO_UID"), ("pkexec", "PKEXEC_UID")] {
        let Some(text) = get(variable) else { continue };
        return match number(&text) {
            None => Hint::Bad(variable, text),
            // Root who went by sudo is root.
            Some(0) => Hint::Nobody,
            Some(uid) => Hint::Uid(via, uid, if via == "sudo" { gid() } else { NO_GROUP }),
        };
    }
    match get("DOAS_USER") {
        Some(name) if name == "root" => Hint::Nobody,
        Some(name) => Hint::Name("doas", name),
        None => Hint::Nobody,
    }
}

fn invoker(context: &Context) -> Result<Option<(&'static str, User)>, Failure> {
    if !is_root() {
        return Ok(None);
    }
    match hint(|name| std::env::var_os(name)) {
        Hint::Nobody => Ok(None),
        Hint::Uid(via, uid, gid) => {
            let user = User::by_uid(uid, gid).map_err(|errno| unknown(&uid.to_string(), errno, context))?;
            Ok(Some((via, user)))
        }
        Hint::Name(via, name) => {
            let user = named(&name, context)?;
            Ok((user.uid != 0).then_some((via, user)))
        }
        Hint::Bad(variable, text) => {
            let text = escape::terminal(text.as_bytes());
            let values: [(&str, &dyn Display); 2] = [("variable", &variable), ("text", &text)];
            Err(anyhow!(texts::BAD_INVOKER.fill(context.lang, &values)).into())
        }
    }
}

fn named(name: &OsStr, context: &Context) -> Result<User, Failure> {
    let shown = escape::terminal(name.as_bytes());
    let nobody = || anyhow!(texts::NO_USER.fill(context.lang, &[("name", &shown)]));
    let name = CString::new(name.as_bytes()).map_err(|_| nobody())?;
    let user = User::by_name(&name).map_err(|errno| unknown(&shown, errno, context))?;
    Ok(user.ok_or_else(nobody)?)
}

/// The system's databases of users do not answer.
fn unknown(name: &str, errno: Errno, context: &Context) -> Failure {
    let why = vmatlas_sys::errno_text(errno);
    let values: [(&str, &dyn Display); 2] = [("name", &name), ("why", &why)];
    anyhow!(texts::USER_UNKNOWN.fill(context.lang, &values)).into()
}

/// An environment with what belongs to another user, as sudo(8) sets it; all else as it was.
fn environment(ours: impl Iterator<Item = (OsString, OsString)>, user: &User) -> Vec<CString> {
    const THEIRS: [&str; 3] = ["HOME", "USER", "LOGNAME"];
    let number = user.uid.to_string();
    let name = user.name.as_ref().map_or(number.as_bytes(), |name| name.as_bytes());
    let home = user.home.as_ref().map_or(&b"/"[..], |home| home.as_bytes());
    let set = |(key, value): (&str, &[u8])| [key.as_bytes(), b"=", value].concat();
    let theirs = THEIRS.into_iter().zip([home, name, name]).map(set);
    let kept = ours.filter(|(key, _)| THEIRS.iter().all(|other| key != other)).map(|(mut pair, value)| {
        pair.push("=");
        pair.push(value);
        pair.into_vec()
    });
    // Neither holds a NUL byte: they came from C strings.
    kept.chain(theirs).filter_map(|pair| CString::new(pair).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Hint {
        hint(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    /// Checks who is taken for the one who became root: numbers only, root never, and root's group never.
    #[test]
    fn hints_are_weighed() {
        assert_eq!(of(&[("SUDO_UID", "1000"), ("SUDO_GID", "100")]), Hint::Uid("sudo", 1000, 100));
        assert_eq!(of(&[("SUDO_UID", "1000"), ("SUDO_GID", "0")]), Hint::Uid("sudo", 1000, NO_GROUP));
        assert_eq!(of(&[("PKEXEC_UID", "7")]), Hint::Uid("pkexec", 7, NO_GROUP));
        assert_eq!(of(&[("DOAS_USER", "ann")]), Hint::Name("doas", "ann".into()));
        for nobody in [&[][..], &[("SUDO_UID", "0")], &[("DOAS_USER", "root")], &[("SUDO_GID", "5")]] {
            assert_eq!(of(nobody), Hint::Nobody);
        }
        for bad in ["", "-1", "+1", "ann", "4294967295", "99999999999", "1 "] {
            assert_eq!(of(&[("SUDO_UID", bad)]), Hint::Bad("SUDO_UID", bad.into()));
        }
    }

    /// Checks that what belongs to the user takes the place of what belonged to root, and that all else stays.
    #[test]
    fn the_environment_is_the_users() {
        let user = User { uid: 7, gid: 7, groups: vec![7], name: Some(c"ann".into()), home: None };
        let ours = [("HOME", "/root"), ("TERM", "x"), ("LOGNAME", "root")].map(|(k, v)| (k.into(), v.into()));
        let env = environment(ours.into_iter(), &user);
        assert_eq!(env, [c"TERM=x", c"HOME=/", c"USER=ann", c"LOGNAME=ann"].map(CString::from));
    }
}
