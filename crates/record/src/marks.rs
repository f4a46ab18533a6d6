//! Marks on their way to the writer: a small file for each, in the folder `marks` of a recording that is being made.

use crate::error::RecordError;
use crate::files;
use crate::meta::{FORMAT, Meta, VERSION, is_known};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use vmatlas_event::MonoNs;

/// How long a mark's name may be, in bytes.
pub const LONGEST_MARK: usize = 200;
/// The folder, inside that of the recording.
pub(crate) const FOLDER: &str = "marks";
/// What is not yet whole.
const UNFINISHED: &str = "tmp";
/// So many files are looked at in one go.
const AT_ONCE: usize = 64;
/// No recording takes more marks.
const MOST: u32 = 10_000;

/// Whether a mark may be called so: something to be seen, and nothing that acts on a terminal.
pub fn is_mark_name(name: &str) -> bool {
    let acts = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
    };
    (1..=LONGEST_MARK).contains(&name.len()) && name.trim() == name && !name.chars().any(acts)
}

/// The writer's side: where marks are laid down.
#[derive(Debug)]
pub struct Marks {
    folder: PathBuf,
    taken: u32,
}

/// A file that was found there.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    /// `None` where it is no mark: it only goes.
    name: Option<String>,
}

impl Marks {
    /// Makes the folder.
    ///
    /// # Errors
    /// Those of the system.
    pub fn create(recording: &Path) -> Result<Marks, RecordError> {
        let folder = recording.join(FOLDER);
        files::create_folder(&folder)?;
        Ok(Marks { folder, taken: 0 })
    }

    /// What waits, the oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        if self.taken >= MOST {
            return Vec::new();
        }
        let is_whole = |path: &PathBuf| path.extension().is_none_or(|extension| extension != UNFINISHED);
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).filter(is_whole).take(AT_ONCE).collect();
        // Names begin with the time.
        paths.sort();
        paths.into_iter().map(|path| Waiting { name: read_name(&path), path }).collect()
    }

    /// Gives its name to `found`, and takes the file away then: who laid it down sees that, so by then it is kept.
    ///
    /// One that was taken back between the two is kept all the same.
    pub fn take(&mut self, waiting: Waiting, found: &mut dyn FnMut(String)) {
        if let Some(name) = waiting.name {
            found(name);
        }
        self.taken += 1;
        if fs::remove_file(&waiting.path).is_err_and(|error| !is_absent(&error)) {
            // It would be found again and again.
            self.taken = MOST;
        }
    }

    /// Takes what is left and removes the folder: no more can be laid down.
    pub fn close(mut self, found: &mut dyn FnMut(String)) {
        // Each round loses against who lays one down meanwhile.
        for _ in 0..AT_ONCE {
            for waiting in self.waiting() {
                self.take(waiting, found);
            }
            for entry in fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok) {
                if entry.path().extension().is_some_and(|extension| extension == UNFINISHED) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
        }
    }
}

fn read_name(path: &Path) -> Option<String> {
    let name = String::from_utf8(files::read(path, LONGEST_MARK as u64).ok()?).ok()?;
    is_mark_name(&name).then_some(name)
}

/// A mark that was laid down for the writer.
#[derive(Debug)]
pub struct Laid {
    path: PathBuf,
}

impl Laid {
    /// Lays down a mark for who writes this recording.
    ///
    /// # Errors
    /// [`RecordError::Ended`] where nobody takes it any more, and those of [`Reader::open`](crate::Reader::open).
    pub fn new(recording: &Path, name: &str, now: MonoNs) -> Result<Laid, RecordError> {
        let not_ours = || RecordError::NotARecording(recording.to_owned());
        if crate::packed::is_packed(recording) {
            return Err(RecordError::Ended(recording.to_owned()));
        }
        let meta: Meta = match files::read_json(&recording.join("meta.json"), "meta.json") {
            Ok(meta) => meta,
            Err(RecordError::Io { source, .. }) if is_absent(&source) => return Err(not_ours()),
            Err(error) => return Err(error),
        };
        if meta.format != FORMAT {
            return Err(not_ours());
        }
        if !is_known(meta.version) {
            let (path, version) = (recording.to_owned(), meta.version);
            return Err(RecordError::Version { path, version, known: VERSION });
        }
        let ended = || RecordError::Ended(recording.to_owned());
        let folder = recording.join(FOLDER);
        if meta.end.is_some() || !fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir()) {
            return Err(ended());
        }
        let path = folder.join(format!("{:020}-{}", now.0, std::process::id()));
        let unfinished = path.with_extension(UNFINISHED);
        let written = files::create(&unfinished).and_then(|mut file| {
            file.write_all(name.as_bytes())
                .and_then(|()| fs::rename(&unfinished, &path))
                .map_err(|e| RecordError::io(&path, e))
        });
        match written {
            Ok(()) => Ok(Laid { path }),
            Err(RecordError::Io { source, .. }) if is_absent(&source) => Err(ended()),
            Err(error) => {
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    /// Whether the writer has it.
    pub fn is_taken(&self) -> bool {
        fs::symlink_metadata(&self.path).is_err_and(|error| is_absent(&error))
    }

    /// Takes it back; whether the writer was faster.
    pub fn withdraw(self) -> bool {
        fs::remove_file(&self.path).is_err_and(|error| is_absent(&error))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::{Options, Writer};
    use std::os::unix::fs::symlink;

    fn recording() -> (tempfile::TempDir, PathBuf, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let writer = Writer::create(&path, Meta::default(), Options::default()).unwrap();
        (folder, path, writer)
    }

    fn take_all(marks: &mut Marks) -> Vec<String> {
        let mut found = Vec::new();
        marks.waiting().into_iter().for_each(|waiting| marks.take(waiting, &mut |name| found.push(name)));
        found
    }

    /// Checks that marks arrive once and in order, and that who laid one down learns of it.
    #[test]
    fn marks_arrive() {
        let (_folder, path, _writer) = recording();
        assert!(matches!(Laid::new(&path, "early", MonoNs(1)), Err(RecordError::Ended(_))));
        let mut marks = Marks::create(&path).unwrap();
        let later = Laid::new(&path, "later", MonoNs(30)).unwrap();
        let sooner = Laid::new(&path, "印", MonoNs(4)).unwrap();
        assert!(!later.is_taken() && !sooner.is_taken());
        assert_eq!(take_all(&mut marks), ["印", "later"]);
        assert!(later.is_taken() && sooner.withdraw());
        assert_eq!(take_all(&mut marks), Vec::<String>::new());
        assert!(!Laid::new(&path, "withdrawn", MonoNs(5)).unwrap().withdraw());
        let last = Laid::new(&path, "last", MonoNs(6)).unwrap();
        fs::write(path.join(FOLDER).join("x.tmp"), "half").unwrap();
        let mut found = Vec::new();
        marks.close(&mut |name| found.push(name));
        assert_eq!(
            (found, last.is_taken(), path.join(FOLDER).exists()),
            (vec!["last".to_owned()], true, false)
        );
        assert!(matches!(Laid::new(&path, "late", MonoNs(7)), Err(RecordError::Ended(_))));
    }

    /// Checks that what is no mark is not taken for one, is not followed, and does not stay in the way.
    #[test]
    fn what_is_no_mark_goes() {
        let (folder, path, writer) = recording();
        let mut marks = Marks::create(&path).unwrap();
        let inside = path.join(FOLDER);
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, inside.join("link")).unwrap();
        fs::write(inside.join("long"), [b'x'; LONGEST_MARK + 1]).unwrap();
        for (index, bytes) in
            [&b""[..], b"\x1b[31m", b"two\nlines", b"\xff", b" padded"].into_iter().enumerate()
        {
            fs::write(inside.join(index.to_string()), bytes).unwrap();
        }
        fs::create_dir(inside.join("folder")).unwrap();
        fs::write(inside.join("whole"), "good").unwrap();
        assert_eq!(take_all(&mut marks), ["good"]);
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
        for name in ["", " x", "x\u{202e}", "a\nb", &"x".repeat(LONGEST_MARK + 1)] {
            assert!(!is_mark_name(name), "{name:?}");
        }
        assert!(is_mark_name("before the leak") && is_mark_name(&"x".repeat(LONGEST_MARK)));
        // It is part of the recording, and goes with it.
        writer.discard();
        assert!(!path.exists());
    }
}
