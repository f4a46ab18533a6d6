//! A moment of a recording as a target: `REC`, `REC@MOMENT`, `REC:PID`, `REC:PID@MOMENT`.

use super::Lenient;
use super::looks::{self, Looked};
use crate::context::Context;
use crate::progress::{self, Of, Progress};
use crate::texts;
use anyhow::{Result, anyhow};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vmatlas_event::{Bytes, EventSource, MmId, Op, PageSize, Pid, Seq, VmaRow};
use vmatlas_model::timeline::{How, Moment, Timeline, TimelineError, Whose};
use vmatlas_record::{Reader, RecordError, is_packed};
use vmatlas_view::show::Header;
use vmatlas_view::source::{self, Source, SourceKind};

/// What a target means that names a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) path: PathBuf,
    pid: Option<Pid>,
    moment: Option<String>,
}

impl Selector {
    /// Reads a target; `None` where it names no recording. What exists as it stands wins.
    pub(crate) fn parse(target: &OsStr) -> Option<Selector> {
        let path = Path::new(target);
        if path.exists() {
            return is_recording(path).then(|| Selector { path: path.to_owned(), pid: None, moment: None });
        }
        split(target.as_bytes(), &|bytes| is_recording(Path::new(OsStr::from_bytes(bytes))))
    }
}

impl Selector {
    /// The same without its moment.
    pub(crate) fn target(&self) -> String {
        let path = self.path.display();
        self.pid.map_or_else(|| path.to_string(), |pid| format!("{path}:{pid}"))
    }
}

/// Whether it is a recording, whole or torn, a folder or packed.
fn is_recording(path: &Path) -> bool {
    // One that may not be read is taken for one, so that this is what is told.
    let has = |name: &str| match path.join(name).symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    match path.is_dir() {
        true => ["meta.json", "tail-000001", "seg-000001"].iter().any(|name| has(name)),
        false => is_packed(path) || is_closed(path),
    }
}

/// Whether it is a file that may not be read.
fn is_closed(path: &Path) -> bool {
    let is_denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    path.is_file() && File::open(path).is_err_and(is_denied)
}

/// Takes a target apart from the right: a path, a process, a moment.
fn split(target: &[u8], is_recording: &dyn Fn(&[u8]) -> bool) -> Option<Selector> {
    let make = |path: &[u8], pid, moment: Option<&[u8]>| Selector {
        path: PathBuf::from(OsStr::from_bytes(path)),
        pid,
        moment: moment.map(|moment| String::from_utf8_lossy(moment).into_owned()),
    };
    let places = target.iter().enumerate().rev().filter(|(_, byte)| **byte == b'@').map(|(at, _)| at);
    for at in places.chain([target.len()]) {
        let (left, moment) = (target.get(..at)?, target.get(at + 1..));
        if is_recording(left) {
            return Some(make(left, None, moment));
        }
        if let Some((path, pid)) = process(left).filter(|(path, _)| is_recording(path)) {
            return Some(make(path, Some(pid), moment));
        }
    }
    None
}

/// `REC:PID`.
fn process(text: &[u8]) -> Option<(&[u8], Pid)> {
    let colon = text.iter().rposition(|byte| *byte == b':')?;
    let digits = std::str::from_utf8(text.get(colon + 1..)?).ok()?;
    let pid = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((text.get(..colon)?, Pid(pid)))
}

/// The page of the machine it was made on.
pub(crate) fn page_of(reader: &Reader) -> PageSize {
    PageSize::new(reader.meta().page_size).unwrap_or(vmatlas_sys::page_size())
}

/// A recording as a timeline before its first event.
pub(crate) fn timeline(reader: Reader, progress: Progress, context: &Context) -> Result<Timeline<Lenient>> {
    let (page, distrust) = (page_of(&reader), reader.meta().distrust);
    Timeline::open(Lenient::new(reader, progress), page, distrust).map_err(|error| broken(error, context))
}

/// What is wrong with a recording that should be read, beside moments that it does not have.
pub(crate) fn broken(error: TimelineError<RecordError>, context: &Context) -> anyhow::Error {
    match error {
        TimelineError::Source(error) => super::explain_reading(&error, context),
        other => anyhow!(texts::REC_CONTRADICTS.fill(context.lang, &[("why", &other)])),
    }
}

/// A recording that was gone through to a moment.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) timeline: Timeline<Lenient>,
    /// The address space that is meant.
    pub(crate) mm: MmId,
    pub(crate) header: Header,
    pub(crate) page: PageSize,
    /// The look whose map it is, where nothing was traced, or the page snapshot at this moment.
    pub(crate) looked: Option<Looked>,
    /// The nearest page snapshots, where the moment is none: between two nothing is known of pages.
    pub(crate) nearby: Vec<Seq>,
}

impl Visit {
    /// Opens a recording and goes to the moment that is meant.
    pub(crate) fn open(selector: &Selector, context: &Context) -> Result<Visit> {
        let reader = super::open(&selector.path, context)?;
        let page = page_of(&reader);
        let progress = Progress::new(context, progress::READING, Of::Events);
        let mut timeline = timeline(reader, progress, context)?;
        let lang = context.lang;
        let path = selector.path.display();
        if timeline.last().is_none() {
            return Err(anyhow!(texts::REC_NO_EVENTS.fill(lang, &[("path", &path)])));
        }
        // Reading who was there finds damage, before the end is looked for.
        let root = timeline.tree().map_err(|error| broken(error, context))?.root();
        if root.is_none()
            && let Some(what) = timeline.source().damage().next()
        {
            let values: [(&str, &dyn Display); 2] = [("path", &path), ("what", what)];
            return Err(anyhow!(texts::REC_ALL_DAMAGED.fill(lang, &values)));
        }
        let whose = selector.pid.map_or(Whose::First, Whose::Process);
        let moment = selector.moment.as_deref().map_or(Moment::Exit, Moment::parse);
        let found = looks::seek(&mut timeline, &moment, whose);
        let (spot, mut looked) = match found {
            Ok(found) => found,
            Err(error) => return Err(not_there(&mut timeline, error, selector, context)),
        };
        let mut nearby = Vec::new();
        if !looks::is_watched(timeline.source().reader()) {
            let snapped = looks::snapped(&mut timeline, &moment, spot).map_err(|e| broken(e, context))?;
            (looked, nearby) = (snapped.looked, snapped.nearby);
        }
        let pid = selector.pid.or(root);
        let Some(mm) = spot.mm.filter(|mm| timeline.space(*mm).is_some()) else {
            return Err(no_memory(&mut timeline, pid, context));
        };
        let mut header = header(&mut timeline, mm, pid, &selector.path).map_err(|e| broken(e, context))?;
        if let Some(looked) = &looked {
            looked.adjust(&mut header);
        }
        if let Some(moment) = header.source.as_mut().and_then(|source| source.moment.as_mut()) {
            let target = selector.target();
            moment.pages_at = nearby.iter().map(|seq| format!("{target}@{seq}")).collect();
        }
        Ok(Visit { timeline, mm, header, page, looked, nearby })
    }

    /// Whether the other is of the same recording.
    pub(crate) fn is_of_same(&self, other: &Visit) -> bool {
        let path = |visit: &Visit| {
            let source = visit.header.source.as_ref()?;
            Path::new(OsStr::from_bytes(&source.path)).canonicalize().ok()
        };
        path(self).is_some_and(|own| path(other) == Some(own))
    }

    /// The map at the moment.
    pub(crate) fn rows(&self) -> Vec<VmaRow> {
        self.timeline.space(self.mm).map(|space| space.vmas().cloned().collect()).unwrap_or_default()
    }
}

fn header(
    timeline: &mut Timeline<Lenient>,
    mm: MmId,
    pid: Option<Pid>,
    path: &Path,
) -> Result<Header, TimelineError<RecordError>> {
    let exe = program(timeline, mm)?;
    let is_root = timeline.tree()?.root() == pid;
    let name = match exe.rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => name.to_vec(),
        _ if is_root => timeline.source().reader().meta().program.clone().into_bytes(),
        _ => Vec::new(),
    };
    let position = timeline.position();
    let virtual_size: Option<Bytes> = timeline.space(mm).map(|space| space.size());
    let source = timeline.source();
    let moment = source::Moment {
        seq: position.seq,
        since_start: position.since_start,
        mm,
        ended: source.reader().meta().end.is_some(),
        being_recorded: source.reader().is_being_written(),
        damage: source.damage().map(ToString::to_string).collect(),
        look: None,
        pages_at: Vec::new(),
    };
    let source = Source {
        kind: SourceKind::Recording,
        path: path.as_os_str().as_bytes().to_vec(),
        signal: None,
        truncated: None,
        left_out: 0,
        moment: Some(moment),
    };
    let zero_pages_unknown = true;
    Ok(Header { pid, name, exe, virtual_size, source: Some(source), zero_pages_unknown, ..Header::default() })
}

/// The path of the program: the first file of the map it began with, which forks have from their parents.
fn program(timeline: &mut Timeline<Lenient>, mm: MmId) -> Result<Vec<u8>, TimelineError<RecordError>> {
    let tree = timeline.tree()?;
    let mut node = tree.get(mm);
    while let Some(this) = node
        && this.how == How::Forked
    {
        // A parent is there before its child, whatever a recording says.
        node = this.parent.and_then(|parent| tree.get(parent)).filter(|parent| parent.first < this.first);
    }
    let Some((first, known)) = node.map(|node| (node.mm, node.known)) else { return Ok(Vec::new()) };
    let mut path = Vec::new();
    let read = timeline.source().events(known, &mut |event| {
        if let Op::Snapshot { rows, .. } = &event.op
            && event.mm == first
        {
            path = rows.iter().find(|row| row.has_file()).map_or(Vec::new(), |row| row.name_bytes().to_vec());
        }
        false
    });
    read.map_err(TimelineError::Source)?;
    Ok(path)
}

/// Why a moment cannot be shown, with what there is instead.
fn not_there(
    timeline: &mut Timeline<Lenient>,
    error: TimelineError<RecordError>,
    selector: &Selector,
    context: &Context,
) -> anyhow::Error {
    const MOST: usize = 20;
    let (lang, path) = (context.lang, selector.path.display());
    let cut = |mut words: Vec<String>| {
        if words.len() > MOST {
            words.truncate(MOST);
            words.push("…".to_owned());
        }
        words.join(" ")
    };
    match error {
        TimelineError::NoSuchMoment => {
            let marks = timeline.tree().map(|tree| tree.marks.clone()).unwrap_or_default();
            let moment = selector.moment.as_deref().unwrap_or("exit");
            let marks = cut(marks.into_iter().map(|(name, _)| name).collect());
            let values: [(&str, &dyn Display); 3] = [("moment", &moment), ("path", &path), ("marks", &marks)];
            let text = if marks.is_empty() { texts::REC_NO_MOMENT } else { texts::REC_NO_MARK };
            anyhow!(text.fill(lang, &values))
        }
        TimelineError::NoSuchProcess(pid) => {
            let mut pids: Vec<i32> = timeline
                .tree()
                .map(|tree| tree.spaces.iter().flat_map(|node| &node.users).map(|user| user.pid.0).collect())
                .unwrap_or_default();
            pids.sort_unstable();
            pids.dedup();
            let pids = cut(pids.iter().map(ToString::to_string).collect());
            let values: [(&str, &dyn Display); 3] = [("pid", &pid), ("path", &path), ("pids", &pids)];
            anyhow!(texts::REC_NO_PROCESS.fill(lang, &values))
        }
        error => broken(error, context),
    }
}

/// A process that has no memory at the moment: when it has.
fn no_memory(timeline: &mut Timeline<Lenient>, pid: Option<Pid>, context: &Context) -> anyhow::Error {
    let pid = pid.unwrap_or_default();
    let life = timeline.tree().ok().and_then(|tree| {
        let first = tree.of(pid).map(|(_, tenancy)| tenancy.first).min()?;
        let last = tree.of(pid).map(|(_, tenancy)| tenancy.last).last()?;
        Some((first, last))
    });
    let now = timeline.position().seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
    let (first, last) = life.unwrap_or_default();
    let last = last.and_then(|last| last.0.checked_sub(1));
    let last = last.map_or_else(|| "end".to_owned(), |last| last.to_string());
    let values: [(&str, &dyn Display); 4] =
        [("pid", &pid), ("seq", &now), ("first", &first), ("last", &last)];
    anyhow!(texts::REC_NO_MEMORY.fill(context.lang, &values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, recordings: &[&str]) -> Option<(String, Option<i32>, Option<String>)> {
        let found = split(target.as_bytes(), &|path| recordings.iter().any(|r| r.as_bytes() == path))?;
        Some((found.path.to_string_lossy().into_owned(), found.pid.map(|pid| pid.0), found.moment))
    }

    /// Checks that targets are taken apart from the right, and that paths may hold what parts them.
    #[test]
    fn targets_are_taken_apart_from_the_right() {
        let some =
            |path: &str, pid, moment: Option<&str>| Some((path.to_owned(), pid, moment.map(str::to_owned)));
        assert_eq!(parts("r@1.25s", &["r"]), some("r", None, Some("1.25s")));
        assert_eq!(parts("r:12@exec:2", &["r"]), some("r", Some(12), Some("exec:2")));
        assert_eq!(parts("r:12", &["r"]), some("r", Some(12), None));
        assert_eq!(parts("a@b:1@x", &["a@b:1"]), some("a@b:1", None, Some("x")));
        assert_eq!(parts("a@b:1", &["a@b"]), some("a@b", Some(1), None));
        assert_eq!(parts("r@mark@home", &["r"]), some("r", None, Some("mark@home")));
        assert_eq!(parts("r@", &["r"]), some("r", None, Some("")));
        for nothing in ["", "@", ":", "r:", "r:x", "r:-1", "r:99999999999", "s@exit", "@exit", ":1@exit"] {
            assert_eq!(parts(nothing, &["r"]), None, "{nothing}");
        }
    }
}
