//! Names of users.

use std::collections::HashMap;

/// Names of users, from /etc/passwd alone: no other service is asked.
pub(super) struct Users(HashMap<u32, Vec<u8>>);

impl Users {
    /// Those of this machine.
    pub(super) fn read() -> Users {
        Users::parse(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Users {
        let mut names = HashMap::new();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
            if let Some(uid) = uid.filter(|_| !name.is_empty()) {
                names.entry(uid).or_insert_with(|| name.to_vec());
            }
        }
        Users(names)
    }

    /// The name of a user; `None` where there is none.
    pub(super) fn name(&self, uid: u32) -> Option<Vec<u8>> {
        self.0.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the first of several names counts, and that lines that are none are passed over.
    #[test]
    fn users_have_names() {
        let users =
            Users::parse(b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\n# c\n:x:5::\nbad:x:-1:\nn\xff:x:7:7:\n");
        assert_eq!(users.name(0).as_deref(), Some(&b"root"[..]));
        assert_eq!(users.name(7).as_deref(), Some(&b"n\xff"[..]));
        assert_eq!((users.name(5), users.name(1)), (None, None));
    }
}
