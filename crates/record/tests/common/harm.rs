//! One recording, damaged in many ways, one after the other, by as many threads as there are processors.

use super::stacks::{frame, module};
use super::{keyframe, read_from};
use std::any::Any;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use vmatlas_event::{Event, EventSource, FrameId, ModuleId, Seq, StackId};
use vmatlas_record::{Reader, RecordError};

/// Nothing that small takes as long; who waits longer calls it a hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is done to a file of a recording: its number among the files in the order of their names, and a place in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// One bit is another one.
    Flip { file: usize, at: usize, bit: u8 },
    /// It ends here.
    Cut { file: usize, length: usize },
}

impl Harm {
    /// Which file.
    fn file(self) -> usize {
        let (Harm::Flip { file, .. } | Harm::Cut { file, .. }) = self;
        file
    }

    /// Does it to a whole file, in its place: one that is made empty and written anew is brought to the disk by some file
    /// systems before its end, which takes longer than all the rest.
    fn apply(self, file: &File, whole: &[u8]) {
        match self {
            Harm::Flip { at, bit, .. } => file.write_all_at(&[whole[at] ^ (1 << bit)], at as u64),
            Harm::Cut { length, .. } => file.set_len(length as u64),
        }
        .unwrap();
    }

    /// Makes it whole again.
    fn mend(self, file: &File, whole: &[u8]) {
        let (start, end) = match self {
            Harm::Flip { at, .. } => (at, at + 1),
            Harm::Cut { length, .. } => (length, whole.len()),
        };
        file.write_all_at(&whole[start..end], start as u64).unwrap();
    }
}

/// What became of a recording that was damaged many times.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) times: usize,
    /// All events were there in spite of it, some of them, none.
    pub(crate) all: usize,
    pub(crate) some: usize,
    pub(crate) none: usize,
    /// The damage was told with the name of the file.
    pub(crate) named: usize,
    longest: Duration,
}

impl Tally {
    pub(crate) fn tell(&self, what: &str) {
        let Tally { times, all, some, none, named, longest } = self;
        println!(
            "{what}: {times} times; all events read {all}, a part {some}, none {none}; told with the file's name {named}; longest {longest:?}"
        );
    }
}

/// The bytes of each file of a recording, by its name inside of it, in the order of names.
pub(crate) fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn add(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(root, &path, found);
            } else {
                found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    add(path, path, &mut found);
    found.sort();
    found
}

/// Reads all there is; whatever is given must be the beginning of what was written. How much that is, and what is said.
pub(crate) fn prefix(path: &Path, events: &[Event]) -> (usize, Vec<String>) {
    let mut reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error @ (RecordError::NotARecording(_) | RecordError::Version { .. })) => {
            return (0, vec![error.to_string()]);
        }
        Err(error) => panic!("{error}"),
    };
    let (found, result) = read_from(&mut reader, 0);
    assert!(found.len() <= events.len() && found == events[..found.len()], "a prefix");
    let mut said: Vec<String> = reader.damage().iter().map(ToString::to_string).chain(result.err()).collect();
    let keyframes: Vec<Seq> = reader.keyframes().map(|(after, _)| after).collect();
    for after in keyframes {
        match reader.keyframe(after) {
            Ok(found) => assert_eq!(found, Some(keyframe(after.0))),
            Err(error) => said.push(error.to_string()),
        }
    }
    match reader.stacks() {
        Ok(stacks) => {
            let [modules, frames, steps] = stacks.counts().map(|count| count as u32);
            assert!((0..modules).all(|n| stacks.module(ModuleId(n)) == Some(&module(n))));
            assert!((0..frames).all(|n| stacks.frame(FrameId(n)) == Some(frame(n))));
            let innermost = |n| stacks.get(StackId(n)).map(|stack| stack.frames[0].0);
            assert!((0..steps).all(|n| innermost(n) == Some(frame(n % 20))));
        }
        Err(error) => said.push(error.to_string()),
    }
    (found.len(), said)
}

/// What one thread says: what it begins with, or what it found.
enum Word {
    Begins { thread: usize, harm: Harm },
    Found { found: usize, is_named: bool, took: Duration },
    Broke { harm: Harm, why: String },
}

/// Does each harm to a copy of the recording, reads that, and mends it.
///
/// Panics, with the harm, where the reader panicked, gave what was not written or said nothing of the damage; and where
/// nothing at all ended for a minute.
pub(crate) fn each(path: &Path, events: &[Event], harms: Vec<Harm>) -> Tally {
    let (whole, events) = (Arc::new(files(path)), Arc::new(events.to_vec()));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = harms.len().div_ceil(workers).max(1);
    let (send, words) = channel();
    // Threads of their own and not of a scope: who hangs is not waited for.
    for (thread, harms) in harms.chunks(share).map(<[Harm]>::to_vec).enumerate() {
        let (whole, events, send) = (Arc::clone(&whole), Arc::clone(&events), send.clone());
        thread::spawn(move || work(thread, &whole, &events, &harms, &send));
    }
    drop(send);
    let mut tally = Tally::default();
    let mut begun = vec![None; workers];
    loop {
        match words.recv_timeout(DEADLINE) {
            Ok(Word::Begins { thread, harm }) => begun[thread] = Some(harm),
            Ok(Word::Broke { harm, why }) => panic!("{harm:?} of {:?}: {why}", whole[harm.file()].0),
            Ok(Word::Found { found, is_named, took }) => {
                tally.times += 1;
                tally.named += usize::from(is_named);
                tally.longest = tally.longest.max(took);
                match found {
                    0 => tally.none += 1,
                    found if found == events.len() => tally.all += 1,
                    _ => tally.some += 1,
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("a hang, with one of {begun:?}"),
        }
    }
    assert_eq!(tally.times, harms.len());
    tally
}

fn work(thread: usize, whole: &[(PathBuf, Vec<u8>)], events: &[Event], harms: &[Harm], send: &Sender<Word>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in whole {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    for harm in harms.iter().copied() {
        let (name, bytes) = &whole[harm.file()];
        let file = File::options().write(true).open(folder.path().join(name)).unwrap();
        harm.apply(&file, bytes);
        // Nobody listens any more where another thread found something.
        if send.send(Word::Begins { thread, harm }).is_err() {
            return;
        }
        let start = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| prefix(folder.path(), events)));
        let took = start.elapsed();
        let word = match read {
            Err(panic) => Word::Broke { harm, why: message(&*panic) },
            Ok((found, said)) if said.is_empty() => {
                Word::Broke { harm, why: format!("{found} of {} events, and nothing is said", events.len()) }
            }
            // A flipped bit of a version looks like a later format, which is told with the whole path.
            Ok((found, said)) => {
                let name = name.display().to_string();
                let is_named = said.iter().any(|line| line.contains(&name));
                Word::Found { found, is_named, took }
            }
        };
        if send.send(word).is_err() {
            return;
        }
        harm.mend(&file, bytes);
    }
    // The last one is mended too: then it is whole again.
    assert_eq!(prefix(folder.path(), events), (events.len(), vec![]));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
