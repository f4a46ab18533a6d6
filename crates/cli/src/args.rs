//! What was typed; no system is asked while it is parsed.

use crate::backend::BackendArgs;
use crate::context::Color;
use crate::show::words::{parse_columns, parse_sort};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use vmatlas_event::{Addr, Bytes, OpKind, Prot};
use vmatlas_model::kind::Kind;
use vmatlas_proc::Method;
use vmatlas_view::show::{Columns, Sort};
use vmatlas_view::{Lang, ps, units};

/// See how a process gets its memory: its map, every call that changed it, and what was really touched.
#[derive(Debug, Parser)]
#[command(
    name = "vmatlas",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = PLANNED
)]
pub(crate) struct Cli {
    /// Language: en or ja (else LC_ALL, LC_MESSAGES, LANG)
    #[arg(long, global = true, value_name = "LANG", value_parser = parse_lang)]
    pub(crate) lang: Option<Lang>,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Do without PROCMAP_QUERY, as on kernels before 6.11
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_procmap_query: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the map of a process: its VMAs, what each is for, and how much of it is resident
    Show(ShowArgs),
    /// Where every resident byte of a process belongs: heap, images, stacks, files, ... beside what others count
    #[command(after_help = RSS_NOTES)]
    Rss(RssArgs),
    /// Show the pages of a process, run by run or one by one, and the physical frames behind them
    #[command(after_help = crate::pages::NOTES)]
    Pages(crate::pages::PagesArgs),
    /// List all processes: virtual, resident and swapped size; map count, PSS and USS when asked
    #[command(after_help = PS_NOTES)]
    Ps(PsArgs),
    /// Start a program and watch its memory calls: each with what it changed
    #[command(after_help = RUN_NOTES)]
    Run(RunArgs),
    /// Watch the memory calls of a running process: each with what it changed; ^C leaves it running
    #[command(after_help = ATTACH_NOTES)]
    Attach(AttachArgs),
    /// Record the map and the pages of a running process at intervals, without tracing it; ^C ends it
    #[command(after_help = crate::watch::NOTES)]
    Watch(crate::watch::WatchProcessArgs),
    /// Show what a recording holds: program, machine, processes, counts of calls, marks, damage
    Info(crate::recording::info::InfoArgs),
    /// Show the events of a recording, as 'run' shows them
    Log(crate::recording::log::LogArgs),
    /// Check a recording: its checksums, and replay against every snapshot and keyframe in it
    #[command(after_help = crate::recording::verify::NOTES)]
    Verify(crate::recording::verify::VerifyArgs),
    /// Who mapped an address, and every call that changed it since; merged neighbours told apart
    #[command(after_help = crate::why::NOTES)]
    Why(crate::why::WhyArgs),
    /// Who asked for the memory: call sites by what is mapped, touched, resident, by faults and calls
    #[command(after_help = crate::origins::NOTES)]
    Origins(crate::origins::OriginsArgs),
    /// Name this moment of a recording, while it is being made
    Mark(crate::recording::mark::MarkArgs),
    /// Make one file of a recording, which all commands read too
    #[command(after_help = crate::recording::pack::NOTES)]
    Pack(crate::recording::pack::PackArgs),
    /// Write the call stacks of a recording as other tools read them: collapsed, speedscope, Firefox profiler, pprof
    #[command(after_help = crate::export::NOTES)]
    Export(crate::export::ExportArgs),
    /// Compare two maps: added, removed, altered, grown, moved, and what that makes for each kind
    #[command(after_help = DIFF_NOTES)]
    Diff(crate::diff::DiffArgs),
    /// Run an experiment step by step: the map before, the call, the map after, a picture
    #[command(after_help = LAB_NOTES)]
    Lab(crate::lab::LabArgs),
    /// What this kernel and these privileges allow, and the command that permits what they do not
    #[command(after_help = crate::doctor::NOTES)]
    Doctor(crate::doctor::DoctorArgs),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// A PID or a process name; saved maps or smaps, a copied /proc/PID folder, or a core file; a recording at a moment:
    /// REC (its last state alive), REC@1.25s, REC@1042 (event), REC@exec, REC@peak, REC@end, REC@MARK, REC:PID@...
    #[arg(value_name = "PID|NAME|FILE", required_unless_present = "pid")]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// Only the header and the totals per kind
    #[arg(long)]
    pub(crate) summary: bool,
    /// Do not read which pages are resident
    #[arg(long)]
    pub(crate) no_resident: bool,
    /// The longest that a single call of ours may hold the process (1ms, 250us)
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = parse_duration)]
    pub(crate) budget: Duration,
    /// Read the pages with so many threads at a time, for large processes where cores are idle
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) threads: u8,
    /// How to read which pages are resident: pagemap-scan, pagemap-entries or smaps (else the best there is)
    #[arg(long, value_name = "HOW", value_parser = parse_method, hide_short_help = true)]
    pub(crate) method: Option<Method>,
    /// Tell for each VMA how its kind is known
    #[arg(long)]
    pub(crate) why_kind: bool,
    /// Only these kinds (image, heap, malloc-arena, thread-stack, ... as in --json)
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = parse_kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only VMAs that allow all of this (letters of rwx)
    #[arg(long, value_name = "RWX", value_parser = parse_rwx)]
    pub(crate) prot: Option<Prot>,
    /// Only VMAs of at least this size (4096, 64KiB, 1.5GiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Only VMAs whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<OsString>,
    /// Only the VMA that holds this address (hexadecimal)
    #[arg(long, value_name = "ADDR", value_parser = parse_addr)]
    pub(crate) addr: Option<Addr>,
    /// Columns: resident, anonymous, file, shmem, swapped, private, shared, pss, ... (help lists them, all shows them)
    #[arg(long, value_name = "LIST", value_parser = parse_columns)]
    pub(crate) columns: Option<Columns>,
    /// Read smaps too and show the kernel's own figures beside ours; it holds the process about 9 ms per GiB
    #[arg(long)]
    pub(crate) smaps: bool,
    /// How many of vm.max_map_count VMAs there are, of which kinds, and which neighbours look alike but are not merged
    #[arg(long, conflicts_with_all = ["summary", "svg", "kind", "prot", "min_size", "name", "addr", "columns", "why_kind"])]
    pub(crate) map_count: bool,
    /// Order: address, or a column of sizes such as size, resident, swapped, private or pss (largest first)
    #[arg(long, value_name = "ORDER", default_value = "address", value_parser = parse_sort)]
    pub(crate) sort: Sort,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the address space to scale, gaps folded, into this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "prot", "min_size", "name", "addr"])]
    pub(crate) svg: Option<PathBuf>,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RssArgs {
    /// A PID, a process name, or what was saved of one: smaps, a copied /proc/PID folder, a core file
    #[arg(value_name = "TARGET", required_unless_present_any = ["pid", "tree", "cgroup"])]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// A process and all its descendants as one: what they share, and what was copied since fork (root)
    #[arg(long, value_name = "PID", conflicts_with_all = ["target", "pid", "cgroup", "line", "profiler_total", "rollup", "pss"])]
    pub(crate) tree: Option<i32>,
    /// The processes of a cgroup (a container) as one: a path below /sys/fs/cgroup, or as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH", conflicts_with_all = ["target", "pid", "line", "profiler_total", "rollup", "pss"])]
    pub(crate) cgroup: Option<OsString>,
    /// With proportional and unique sizes (PSS, USS), by our own sum; needs root, about 45 ms per GiB
    #[arg(long)]
    pub(crate) pss: bool,
    /// Open one line: its VMAs, and what malloc says of it (heap, malloc-arena, image, ... as in --json); not with --json,
    /// which has the figures of malloc in any case ('vmatlas show --kind KIND --json' has the VMAs)
    #[arg(long, value_name = "KIND", value_parser = parse_kind, conflicts_with_all = ["json", "profiler_total", "rollup", "pss"])]
    pub(crate) line: Option<Kind>,
    /// What a profiler counts: says which lines its figure can and cannot contain
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) profiler_total: Option<Bytes>,
    /// Compare with smaps_rollup too; the kernel holds the process meanwhile, about 9 ms per GiB
    #[arg(long)]
    pub(crate) rollup: bool,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Count the VMAs of each (reads maps; above 80 % of vm.max_map_count the number is coloured)
    #[arg(long)]
    pub(crate) vmas: bool,
    /// Sum PSS and USS page by page, of processes up to 256 MiB resident (PSS needs root)
    #[arg(long)]
    pub(crate) pss: bool,
    /// Read what --pss cannot sum with smaps_rollup, which holds the process for about 9 ms per GiB
    #[arg(long)]
    pub(crate) rollup: bool,
    /// Show arguments instead of names: they may hold secrets, and are read from the process's own memory
    #[arg(long)]
    pub(crate) args: bool,
    /// Sums by: container, user, name or cgroup
    #[arg(long, value_name = "WHAT", value_parser = parse_by)]
    pub(crate) by: Option<ps::By>,
    /// Order: rss, vsz, swap, vmas, pss, uss (largest first), pid or name
    #[arg(long, value_name = "ORDER", default_value = "rss", value_parser = parse_ps_sort)]
    pub(crate) sort: ps::Sort,
    /// Only processes with at least so much resident (4096, 64KiB, 1.5GiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_rss: Option<Bytes>,
    /// Only processes whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<OsString>,
    /// At most so many lines; the totals are still those of all
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Threads of the kernel and zombies too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

/// What a person should know to read the sheet.
const RSS_NOTES: &str = "\
    TOUCHED is what has a page behind it now: resident, swapped out, or mapped to the page of zeros. A kind is known by \
    its name, by evidence (a file, a stack pointer, a runtime's layout), or is a guess. The sum is exact when the process \
    stands still; what it changed meanwhile is told.";

/// What a person should know of the figures.
const PS_NOTES: &str = "\
    Without options one small file of each process is read, which no process can delay. RESIDENT counts a page that is \
    shared once for each process; PSS divides it by how many page tables map it, so sums of PSS are honest; USS is what \
    no other process maps. What is hidden from you says so; what was not read is \"-\".";

/// What a person should know before watching a program.
const RUN_NOTES: &str = "\
    With --backend bpf nothing stops the program, it notices nothing, and it goes on when vmatlas is killed. With ptrace \
    its memory calls stop it for a moment each; nothing else does. What it can notice then: a seccomp filter in \
    /proc/self/status, being traced, one CPU with --same-cpu, and under an unprivileged vmatlas that set-user-ID programs \
    gain nothing. It is ended when vmatlas is ended, because its memory calls would fail without us; so vmatlas also waits \
    for every process the program leaves behind.\n\n\
    Exit status: the program's own; 128+N when signal N ended it; 127 not found; 126 not executable; 125 when vmatlas \
    itself fails.";

/// What a person should know before joining a running program.
const ATTACH_NOTES: &str = "\
    With --backend bpf nothing stops the process, and it notices nothing. With ptrace every system call of it stops it for a \
    moment. ^C, SIGTERM or the end of --duration lets it go on as before; \
    if vmatlas is killed, the kernel lets it go. SIGUSR1 to vmatlas has the whole map read at once; ^Z does nothing. What it can notice of ptrace: calls that wait (epoll_wait, semtimedop, sigtimedwait, \
    ...) may return EINTR once when we come and once when we go, it cannot be traced by others meanwhile, and it is \
    slower. What was mapped before has no origin and is told as \"before attach\".\n\n\
    Exit status: 0 when the process was let go; its own when it ended before; 3 when --check found a difference; 125 when \
    vmatlas itself fails.";

/// What a person should know of a comparison.
const DIFF_NOTES: &str = "\
    Maps of one address space (a process at two moments, a parent and its child) are compared by address. Two runs of a \
    program lie at different addresses: their VMAs are paired by kind, file, offset, protection and size.\n\n\
    Exit status: 0; with --exit-code 3 where the maps differ.";

/// What a person should know before an experiment.
const LAB_NOTES: &str = "\
    Experiments happen in a process of their own; nothing of the machine is changed. Without a name they are listed.\n\n\
    Exit status: 0 when every fact held, 3 when one did not, 1 when the experiment could not be made.";

/// What `run` and `attach` have in common.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Only the summary at the end
    #[arg(short = 'c', long)]
    pub(crate) count: bool,
    /// Only these calls (mmap, munmap, mremap, brk, mprotect, mlock, ...; a wrong one lists them all); madvise that acts
    /// on pages only is shown when it is named here, and so are page faults (fault)
    #[arg(short = 'e', long, value_name = "CALL,...", value_delimiter = ',', value_parser = parse_call)]
    pub(crate) expr: Vec<OpKind>,
    /// Only calls that mapped or unmapped at least this much
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Do not show what child processes do (they are traced all the same)
    #[arg(long)]
    pub(crate) no_children: bool,
    /// Write lines to this file instead of standard error
    #[arg(long, value_name = "FILE", conflicts_with = "jsonl")]
    pub(crate) log: Option<PathBuf>,
    /// One JSON object per event on standard error (or to FILE), the summary last
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) jsonl: Option<PathBuf>,
    /// Hold all tasks after every memory call and compare the model with the kernel; a difference is told with both
    /// maps, and the exit status is 3. Slow; threads see more EINTR than otherwise. With --backend bpf the program is stopped
    /// (SIGSTOP) and compared at random moments, some hundred times a second
    #[arg(long)]
    pub(crate) check: bool,
    /// Record into this new folder; nothing is written to standard error then, unless with -v
    #[arg(short, long, value_name = "REC")]
    pub(crate) output: Option<PathBuf>,
    /// With -o: write lines and the summary too
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// With -o: replace a recording that is there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// With -o: keep the program's arguments in the recording (they may hold secrets)
    #[arg(long, requires = "output")]
    pub(crate) record_args: bool,
    #[command(flatten)]
    pub(crate) faults: crate::faults::FaultArgs,
    /// Walk the call stack at every memory call: on (or no word) or off; shown below each line, and recorded with -o
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_value = "off",
        default_missing_value = "on", value_parser = ["on", "off"])]
    pub(crate) stacks: String,
}

impl WatchArgs {
    /// An option among these for which tasks must be stopped, or that BPF programs of ours do not tell of yet.
    /// A program that is ours may be stopped now and then, to compare it: `is_ours`.
    pub(crate) fn only_ptrace(&self, is_ours: bool) -> Option<&'static str> {
        let options = [
            ("--check", self.check && !is_ours),
            ("--stacks", self.has_stacks()),
            ("--faults", self.watched_faults().is_some()),
        ];
        options.into_iter().find(|(_, is_set)| *is_set).map(|(option, _)| option)
    }

    /// Whether call stacks are wanted.
    pub(crate) fn has_stacks(&self) -> bool {
        self.stacks != "off"
    }

    /// Whether page faults are watched, and how.
    pub(crate) fn watched_faults(&self) -> Option<vmatlas_trace::FaultWatch> {
        self.faults.watch(&self.expr)
    }

    /// Whether all goes to the recording, and nothing to standard error.
    pub(crate) fn is_quiet(&self) -> bool {
        self.output.is_some() && !self.verbose && !self.count && self.log.is_none() && self.jsonl.is_none()
    }
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Share one CPU with the program: cheaper for short programs, but the program then sees one CPU
    #[arg(long)]
    pub(crate) same_cpu: bool,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// A PID or a process name
    #[arg(value_name = "PID|NAME", required_unless_present_any = ["pid", "cgroup"])]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// All processes of a cgroup (version 2) and of those below it, and what comes into it or is made by them; a folder, or
    /// a path as in /proc/PID/cgroup. With --backend bpf only
    #[arg(long, value_name = "PATH", conflicts_with_all = ["target", "pid", "follow"])]
    pub(crate) cgroup: Option<PathBuf>,
    /// Watch its children too: those it has, and those it will have
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Leave again after this long (10, 1.5s, 500ms, 2m)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

const PLANNED: &str = "\
    Not yet there: tui, serve, report.";

/// Commands of the design that do not exist yet.
pub(crate) const NOT_YET: &[&str] = &["tui", "serve", "report"];

fn parse_lang(text: &str) -> Result<Lang, String> {
    Lang::from_locale(text).ok_or_else(|| "en or ja".to_owned())
}

pub(crate) fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::from_id(text).ok_or_else(|| {
        let ids: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
        format!("kinds are {}", ids.join(", "))
    })
}

fn parse_rwx(text: &str) -> Result<Prot, String> {
    if text.is_empty() || !text.chars().all(|c| "rwx-".contains(c)) {
        return Err("letters of rwx".to_owned());
    }
    Ok(Prot::new(text.contains('r'), text.contains('w'), text.contains('x')))
}

pub(crate) fn parse_size(text: &str) -> Result<Bytes, String> {
    units::parse_size(text).ok_or_else(|| "a size such as 4096, 64KiB or 1.5GiB".to_owned())
}

pub(crate) fn parse_addr(text: &str) -> Result<Addr, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map(Addr)
        .map_err(|_| "a hexadecimal address such as 0x7f001000".to_owned())
}

/// Seconds, or a number with its unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    } * number.parse::<f64>().unwrap_or(f64::NAN);
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time such as 10, 1.5s, 500ms or 2m".to_owned())
}

fn parse_ps_sort(text: &str) -> Result<ps::Sort, String> {
    one_of(&ps::Sort::ALL, text)
}

fn parse_by(text: &str) -> Result<ps::By, String> {
    one_of(&ps::By::ALL, text)
}

fn one_of<T: Copy>(all: &[(T, &str)], text: &str) -> Result<T, String> {
    all.iter().find(|(_, word)| *word == text).map(|(value, _)| *value).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|(_, word)| *word).collect();
        format!("one of {}", words.join(", "))
    })
}

pub(crate) fn parse_method(text: &str) -> Result<Method, String> {
    Method::from_id(text).ok_or_else(|| Method::ALL.map(Method::id).join(", "))
}

pub(crate) fn parse_call(text: &str) -> Result<OpKind, String> {
    let all = || OpKind::CALLS.iter().copied().chain([OpKind::Fault]);
    all().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = all().map(OpKind::name).collect();
        format!("calls are {}", names.join(", "))
    })
}

/// `PROT_*` names or a number.
#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the options are consistent (clap's own check) and that everything after the program is the program's.
    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["vmatlas", "run", "-c", "--", "ls", "-c", "--lang", "x"]).unwrap();
        let Command::Run(run) = cli.command else { panic!() };
        assert!(run.watch.count);
        assert_eq!(run.command, ["ls", "-c", "--lang", "x"]);
    }

    /// Checks that the help names every planned command.
    #[test]
    fn help_names_what_is_planned() {
        assert!(NOT_YET.iter().all(|name| PLANNED.contains(name)));
    }

    /// Checks that wrong values are refused with the values there are.
    #[test]
    fn wrong_values_are_refused() {
        for words in [
            ["vmatlas", "show", "1", "--kind=nonsense"],
            ["vmatlas", "show", "1", "--min-size=much"],
            ["vmatlas", "show", "1", "--prot=q"],
            ["vmatlas", "show", "1", "--columns=help"],
            ["vmatlas", "show", "1", "--columns="],
            ["vmatlas", "show", "1", "--sort=name"],
            ["vmatlas", "ps", "--by=colour", "--all"],
            ["vmatlas", "ps", "--sort=heat", "--all"],
            ["vmatlas", "show", "1", "--budget=0"],
            ["vmatlas", "show", "1", "--method=magic"],
            ["vmatlas", "run", "--expr=open", "ls"],
            ["vmatlas", "attach", "--duration=soon", "1"],
            ["vmatlas", "attach", "--duration=0", "1"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
