//! `vmatlas ps`: all processes, with one small file of each unless more is asked for.

mod spaces;
mod users;

use crate::args::PsArgs;
use crate::context::{Context, Stream};
use crate::output;
use anyhow::Result;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use users::Users;
use vmatlas_event::{Bytes, Pid, Workload};
use vmatlas_proc::parse::{cgroup, mountinfo, workload};
use vmatlas_proc::read::cmdline::CmdlineReader;
use vmatlas_proc::read::processes::{Listed, ProcessReader, Unread};
use vmatlas_proc::read::share::{ShareReader, Shares, rollup};
use vmatlas_proc::{ErrorKind, ProcError, ProcRoot};
use vmatlas_view::ps::{
    About, By, Figure, Filter, Missing, Options, PsRow, PsView, RollupCost, ShareSource, Sort, What,
    write_json, write_text,
};

/// Processes with more resident memory are not summed page by page.
const OWN_SUM_MOST: Bytes = Bytes(256 << 20);

pub(crate) fn run(args: PsArgs, context: &Context) -> Result<ExitCode> {
    let (by, sort, limit) = (args.by, args.sort, args.limit);
    let view = read(&context.proc_root(), &args)?;
    if args.json {
        output::print(|out| write_json(&view, out, by, sort, limit))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout),
        by,
        sort,
        limit,
    };
    output::show(context, args.no_pager, |out| write_text(&view, out, &options))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads all processes that the options take.
fn read(root: &ProcRoot, args: &PsArgs) -> Result<PsView> {
    let start = Instant::now();
    let filter = Filter {
        name: args.name.as_ref().map(|name| name.as_encoded_bytes().to_vec()),
        min_rss: args.min_rss,
        all: args.all,
    };
    let wants_shares = args.pss || args.rollup || matches!(args.sort, Sort::Pss | Sort::Uss);
    let mut reader = Reader {
        files: ProcessReader::new(root.clone()),
        users: Users::read(),
        with_vmas: args.vmas || args.sort == Sort::Vmas,
        shares: wants_shares.then(|| SharesOf::new(root.clone(), args.rollup)),
        with_cgroup: matches!(args.by, Some(By::Container | By::Cgroup)),
        cmdlines: args.args.then(|| CmdlineReader::new(root.path())),
    };
    let mut view = PsView {
        with_vmas: reader.with_vmas,
        with_shares: wants_shares,
        with_args: args.args,
        ..PsView::default()
    };
    for pid in root.pids()? {
        match reader.row(pid, &filter) {
            Ok(row) => view.rows.extend(row),
            Err(Ended) => view.about.ended += 1,
        }
    }
    if wants_shares && root.has_our_numbers() {
        spaces::mark(&mut view.rows);
    }
    view.sort(args.sort);
    view.about = About {
        max_map_count: root.max_map_count(),
        ended: view.about.ended,
        hidepid: hides_others(root),
        args_late: reader.cmdlines.as_ref().map_or(0, CmdlineReader::late),
        time_us: micros(start.elapsed()),
        ..reader.shares.map(SharesOf::about).unwrap_or_default()
    };
    Ok(view)
}

/// The process ended before all of it was read.
struct Ended;

/// What is asked of each process.
struct Reader {
    files: ProcessReader,
    users: Users,
    with_vmas: bool,
    shares: Option<SharesOf>,
    with_cgroup: bool,
    cmdlines: Option<CmdlineReader>,
}

impl Reader {
    /// One process; `None` when the filter does not take it.
    fn row(&mut self, pid: Pid, filter: &Filter) -> Result<Option<PsRow>, Ended> {
        let mut row = match self.files.status(pid) {
            Ok(listed) => self.of_status(listed),
            Err(why) => nothing_known(pid, figure(Err::<Bytes, _>(why))?.err().unwrap_or(Missing::Unknown)),
        };
        if !filter.takes(&row) {
            return Ok(None);
        }
        if self.with_cgroup
            && let Ok(text) = figure(self.files.cgroup(pid))?
        {
            row.cgroup = cgroup::most_telling(text).map(<[u8]>::to_vec);
            row.workload = row.cgroup.as_deref().map(workload::parse).unwrap_or_default();
        }
        if row.what != What::Process {
            return Ok(Some(row));
        }
        if self.with_vmas {
            row.vmas = figure(self.files.vma_count(pid))?;
        }
        if let Some(shares) = &mut self.shares {
            shares.add(&mut row)?;
        }
        if let Some(cmdlines) = &mut self.cmdlines {
            row.args = figure(cmdlines.read(pid))?;
        }
        Ok(Some(row))
    }

    fn of_status(&self, Listed { pid, status }: Listed) -> PsRow {
        let what = match () {
            () if status.is_kernel_thread() => What::KernelThread,
            () if status.is_zombie() => What::Zombie,
            () => What::Process,
        };
        let absent = if what == What::Process { Missing::Unknown } else { Missing::NoMemory };
        let unread = if what == What::Process { Missing::NotRead } else { Missing::NoMemory };
        PsRow {
            pid,
            what,
            user: status.euid.and_then(|uid| self.users.name(uid)),
            uid: status.euid,
            threads: status.threads,
            virtual_size: status.vm_size.ok_or(absent),
            resident: status.vm_rss.ok_or(absent),
            anonymous: status.rss_anon.ok_or(absent),
            file: status.rss_file.ok_or(absent),
            shmem: status.rss_shmem.ok_or(absent),
            swapped: status.vm_swap.ok_or(absent),
            page_tables: status.vm_pte.ok_or(absent),
            vmas: Err(unread),
            pss: Err(unread),
            uss: Err(unread),
            args: Err(unread),
            name: status.name,
            ..nothing_known(pid, absent)
        }
    }
}

/// A process of which only the number is known.
fn nothing_known(pid: Pid, why: Missing) -> PsRow {
    PsRow {
        pid,
        name: None,
        what: What::Process,
        uid: None,
        user: None,
        threads: None,
        virtual_size: Err(why),
        resident: Err(why),
        anonymous: Err(why),
        file: Err(why),
        shmem: Err(why),
        swapped: Err(why),
        page_tables: Err(why),
        vmas: Err(why),
        pss: Err(why),
        uss: Err(why),
        shares_from: None,
        space_of: None,
        cgroup: None,
        workload: Workload::default(),
        args: Err(why),
    }
}

/// What was read, or why it was not, unless the process has ended.
fn figure<T>(answer: Result<T, Unread>) -> Result<Figure<T>, Ended> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(Unread::Hidden) => Ok(Err(Missing::Hidden)),
        Err(Unread::Unknown) => Ok(Err(Missing::Unknown)),
        Err(Unread::Ended) => Err(Ended),
    }
}

/// Proportional and unique sizes.
struct SharesOf {
    root: ProcRoot,
    reader: ShareReader,
    with_rollup: bool,
    about: About,
    longest_hold: Duration,
}

impl SharesOf {
    fn new(root: ProcRoot, with_rollup: bool) -> SharesOf {
        let reader = ShareReader::new(&root);
        let about = About { own_sum_most: OWN_SUM_MOST, ..About::default() };
        SharesOf { root, reader, with_rollup, about, longest_hold: Duration::ZERO }
    }

    fn add(&mut self, row: &mut PsRow) -> Result<(), Ended> {
        let is_large = row.resident.is_ok_and(|resident| resident > OWN_SUM_MOST);
        let (answer, source) = match self.with_rollup && (is_large || !self.reader.can_share()) {
            true => (self.rollup(row.pid), ShareSource::Rollup),
            false if is_large => {
                self.about.too_large += 1;
                return Ok(());
            }
            false => (self.root.process(row.pid).and_then(|p| self.reader.read(&p)), ShareSource::Pages),
        };
        match answer {
            Ok(shares) => {
                self.longest_hold = self.longest_hold.max(shares.longest_hold);
                self.about.needs_root |= shares.pss.is_none();
                row.pss = shares.pss.ok_or(Missing::Hidden);
                row.uss = Ok(shares.uss);
                row.shares_from = Some(source);
            }
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::NotPermitted => Missing::Hidden,
                    ErrorKind::Zombie | ErrorKind::KernelThread => Missing::NoMemory,
                    ErrorKind::NoSuchProcess => return Err(Ended),
                    // A kernel may lack the file (CONFIG_PROC_PAGE_MONITOR).
                    ErrorKind::Gone if self.root.process(row.pid).is_err() => return Err(Ended),
                    ErrorKind::Gone
                    | ErrorKind::Unsupported
                    | ErrorKind::Malformed
                    | ErrorKind::TimedOut
                    | ErrorKind::Io => Missing::Unknown,
                };
                (row.pss, row.uss) = (Err(why), Err(why));
            }
        }
        Ok(())
    }

    fn rollup(&mut self, pid: Pid) -> Result<Shares, ProcError> {
        let shares = rollup(&self.root.process(pid)?)?;
        let took = micros(shares.longest_hold);
        let cost = self.about.rollup.get_or_insert_default();
        *cost = RollupCost {
            processes: cost.processes + 1,
            longest_us: cost.longest_us.max(took),
            total_us: cost.total_us + took,
        };
        Ok(shares)
    }

    fn about(self) -> About {
        About { longest_hold_us: Some(micros(self.longest_hold)), ..self.about }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whether this /proc shows us our own processes only.
fn hides_others(root: &ProcRoot) -> bool {
    if vmatlas_sys::effective_uid() == 0 {
        return false;
    }
    let Ok(text) = std::fs::read(root.path().join("self/mountinfo")) else { return false };
    mountinfo::parse(&text)
        .iter()
        .rfind(|m| m.mount_point == root.path().as_os_str().as_encoded_bytes())
        .is_some_and(|mount| {
            let mut options = mount.super_options.split(|b| *b == b',');
            options.any(|o| o.strip_prefix(b"hidepid=").is_some_and(|mode| !matches!(mode, b"0" | b"off")))
        })
}

#[cfg(test)]
mod tests;
