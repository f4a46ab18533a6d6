//! The model against the kernel's own mm/vma.c, for `cargo xtask suites vma`: random programs of calls through both.
//!
//! `model_against_vma DRIVER OPERATIONS SEED`: DRIVER is xtask/src/suites/vma.c, built with the kernel's code into a
//! program that answers each operation with all VMAs. Where the model asks nothing its rows must be the driver's; where
//! it asks it is given the driver's rows there, and must be equal then. What is mapped and what it allows must be equal
//! before it is given any.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;
use vmatlas_event::{
    Addr, AddrRange, Advice, Bytes, Errno, Event, MapFlags, MmId, MonoNs, Op, Outcome, PageSize, Pid, Prot,
    ProtArg, Seq, Source, TaskId, Tid, VmaRow,
};
use vmatlas_model::AddressSpace;

const PAGE: u64 = 4096;
const BASE: u64 = 0x1000_0000;
/// Operations in one program. Its lines must fit into a pipe, for all are written before an answer is read.
const LENGTH: u64 = 200;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, driver, operations, seed] = args.as_slice() else {
        return Err("model_against_vma DRIVER OPERATIONS SEED".into());
    };
    let operations: u64 = operations.parse()?;
    let (mut driver, mut random) = (Driver::start(driver)?, Random(seed.parse()?));
    let (mut tally, mut done, start) = (BTreeMap::new(), 0, Instant::now());
    while done < operations {
        let steps = program(&mut random, LENGTH.min(operations - done));
        let answers = driver.run(&steps)?;
        if let Some(fault) = first_fault(&steps, &answers, &mut tally) {
            return Err(told(&mut driver, &steps, &fault)?.into());
        }
        done += steps.len() as u64;
    }
    driver.end()?;
    println!("{:<10} {:>10} {:>8} {:>10} {:>10}", "operation", "done", "refused", "asked", "news");
    let mut all = Count::default();
    for (kind, count) in &tally {
        println!("{kind:<10} {count}");
        all.add(count);
    }
    println!("{:<10} {all}", "all");
    println!(
        "{done} operations, {:.1} % asked about ({:.1} % news), 0 differences, {:.1} s",
        100.0 * all.asked as f64 / all.done as f64,
        100.0 * all.news as f64 / all.done as f64,
        start.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// What is done, by the name that the driver has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Map(u64),
    Unmap,
    Protect(u64),
    Lock,
    Unlock,
    Hide,
    Show,
    Seal,
    /// mremap(2) in place, to so many pages.
    Resize(u64),
    /// mremap(2) to so many pages, at that page.
    Move(u64, u64),
    /// No call: the program writes to its memory.
    Touch,
    /// No call of the process that is followed from here on.
    Fork,
}

/// One operation, on pages counted from `BASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    kind: Kind,
    first: u64,
    pages: u64,
}

impl Step {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Map(_) => "map",
            Kind::Unmap => "unmap",
            Kind::Protect(_) => "protect",
            Kind::Lock => "lock",
            Kind::Unlock => "unlock",
            Kind::Hide => "hide",
            Kind::Show => "show",
            Kind::Seal => "seal",
            Kind::Resize(_) => "resize",
            Kind::Move(..) => "move",
            Kind::Touch => "touch",
            Kind::Fork => "fork",
        }
    }

    /// The line that the driver reads.
    fn line(&self) -> String {
        let more = match self.kind {
            Kind::Map(prot) | Kind::Protect(prot) => format!(" {prot:x}"),
            Kind::Resize(pages) => format!(" {:x}", pages * PAGE),
            Kind::Move(pages, to) => format!(" {:x} {:x}", pages * PAGE, BASE + to * PAGE),
            _ => String::new(),
        };
        format!("{} {:x} {:x}{more}", self.name(), BASE + self.first * PAGE, self.pages * PAGE)
    }

    /// The call, for the model; `None` where there is none.
    fn op(&self) -> Option<Op> {
        let (addr, len) = (Addr(BASE + self.first * PAGE), Bytes(self.pages * PAGE));
        let private_anonymous_fixed = MapFlags(0x32);
        let (flags, may_move_fixed) = (0, 3);
        Some(match self.kind {
            Kind::Map(prot) => {
                Op::Mmap { addr, len, prot: ProtArg(prot), flags: private_anonymous_fixed, fd: -1, offset: 0 }
            }
            Kind::Unmap => Op::Munmap { addr, len },
            Kind::Protect(prot) => Op::Mprotect { addr, len, prot: ProtArg(prot), pkey: None },
            Kind::Lock => Op::Mlock { addr, len, flags: None },
            Kind::Unlock => Op::Munlock { addr, len },
            Kind::Hide => Op::Madvise { addr, len, advice: Advice(16) },
            Kind::Show => Op::Madvise { addr, len, advice: Advice(17) },
            Kind::Seal => Op::Mseal { addr, len, flags },
            Kind::Resize(pages) => {
                Op::Mremap { old: addr, old_len: len, new_len: Bytes(pages * PAGE), flags, new: Addr(0) }
            }
            Kind::Move(pages, to) => Op::Mremap {
                old: addr,
                old_len: len,
                new_len: Bytes(pages * PAGE),
                flags: may_move_fixed,
                new: Addr(BASE + to * PAGE),
            },
            Kind::Touch | Kind::Fork => return None,
        })
    }

    fn outcome(&self, result: i32) -> Outcome {
        match (result, self.kind) {
            (0, Kind::Map(_) | Kind::Resize(_)) => Outcome::Done(BASE + self.first * PAGE),
            (0, Kind::Move(_, to)) => Outcome::Done(BASE + to * PAGE),
            (0, _) => Outcome::Done(0),
            (error, _) => Outcome::Failed(Errno(-error)),
        }
    }
}

/// What the driver says after an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// 0, or a negative error number.
    result: i32,
    rows: Vec<VmaRow>,
}

impl Answer {
    fn parse(line: &str) -> Option<Answer> {
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let mut words = line.split_whitespace();
        let result = words.next()?.parse().ok()?;
        let mut rows = Vec::new();
        while let Some(range) = words.next() {
            let (start, end) = range.split_once('-')?;
            let range = AddrRange::new(Addr(hex(start)?), Addr(hex(end)?))?;
            rows.push(VmaRow::anonymous(range, Prot::from_arg(ProtArg(hex(words.next()?)?))));
        }
        Some(Answer { result, rows })
    }
}

/// The kernel's code as a program.
struct Driver {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it complains of, all of it: it must never wait for us to read that.
    complaints: JoinHandle<String>,
}

impl Driver {
    fn start(program: &str) -> Result<Driver, Error> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("no pipes".into());
        };
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is still worth showing.
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Driver { child, input, output: BufReader::new(output), complaints })
    }

    /// Runs a program from an empty map; one answer for each operation.
    fn run(&mut self, steps: &[Step]) -> Result<Vec<Answer>, Error> {
        let mut lines: String = steps.iter().map(|step| step.line() + "\n").collect();
        lines.push_str("reset\n");
        let ended = |_| format!("the driver ended inside this program:\n{lines}");
        self.input.write_all(lines.as_bytes()).map_err(ended)?;
        let mut answers = Vec::with_capacity(steps.len() + 1);
        for _ in 0..=steps.len() {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            answers.push(
                Answer::parse(&line).ok_or_else(|| format!("the driver answers {line:?} in:\n{lines}"))?,
            );
        }
        answers.pop();
        Ok(answers)
    }

    /// Ends it; fails if it complained, for the kernel's checks of itself only print.
    fn end(mut self) -> Result<(), Error> {
        drop(self.input);
        let status = self.child.wait()?;
        let complaints = self.complaints.join().map_err(|_| "the reader of complaints panicked")?;
        if !status.success() || !complaints.is_empty() {
            return Err(format!("the driver ended with {status}; it says:\n{complaints}").into());
        }
        Ok(())
    }
}

/// How often an operation was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    done: u64,
    /// Ended with an error.
    refused: u64,
    /// The model asked.
    asked: u64,
    /// The model asked, and did not have the answer.
    news: u64,
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.done += other.done;
        self.refused += other.refused;
        self.asked += other.asked;
        self.news += other.news;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10} {:>8} {:>10} {:>10}", self.done, self.refused, self.asked, self.news)
    }
}

/// What is wrong after which operation.
struct Fault {
    at: usize,
    what: &'static str,
    model: Vec<VmaRow>,
    kernel: Vec<VmaRow>,
}

/// Follows a program with the model up to where it differs.
fn first_fault(
    steps: &[Step],
    answers: &[Answer],
    tally: &mut BTreeMap<&'static str, Count>,
) -> Option<Fault> {
    let mut space = AddressSpace::new(PageSize::FOUR_KIB);
    steps.iter().zip(answers).enumerate().find_map(|(at, (step, answer))| {
        match follow(&mut space, step, answer) {
            Ok(count) => {
                tally.entry(step.name()).or_default().add(&count);
                None
            }
            Err((what, model)) => Some(Fault { at, what, model, kernel: answer.rows.clone() }),
        }
    })
}

/// Follows one operation; what is wrong, and the model's rows then.
fn follow(
    space: &mut AddressSpace,
    step: &Step,
    kernel: &Answer,
) -> Result<Count, (&'static str, Vec<VmaRow>)> {
    let rows = |space: &AddressSpace| space.vmas().cloned().collect::<Vec<_>>();
    let outcome = step.outcome(kernel.result);
    let mut count = Count { done: 1, refused: u64::from(kernel.result != 0), ..Count::default() };
    let asked = step.op().map(|op| space.apply(&event(op, outcome)).ask).unwrap_or_default();
    // What a call that failed has done before it did is not predicted, but it is where the call was.
    let unsure: &[AddrRange] = if matches!(outcome, Outcome::Done(_)) { &[] } else { &asked };
    if pages(space.vmas(), unsure) != pages(kernel.rows.iter(), unsure) {
        return Err(("other pages than the kernel's, before it was asked", rows(space)));
    }
    let predicted = rows(space);
    for asked in &asked {
        let rows = kernel.rows.iter().filter(|row| row.range.intersects(*asked)).cloned().collect();
        let op = Op::Observed { rows, asked: *asked, late: false, in_flight: Vec::new() };
        let applied = space.apply(&event(op, Outcome::Done(0)));
        if applied.drifted && unsure.is_empty() {
            return Err(("the kernel's answer counts as drift", predicted));
        }
    }
    if !space.vmas().eq(kernel.rows.iter()) {
        let what = if asked.is_empty() { "nothing was asked" } else { "the kernel has answered" };
        return Err((what, rows(space)));
    }
    count.asked = u64::from(!asked.is_empty());
    count.news = u64::from(predicted != kernel.rows);
    Ok(count)
}

fn event(op: Op, outcome: Outcome) -> Event {
    Event {
        seq: Seq(1),
        entered: MonoNs(0),
        left: MonoNs(0),
        task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
        mm: MmId(1),
        op,
        outcome,
        stack: None,
        source: Source::Ptrace,
    }
}

/// What is mapped and what it allows outside of some ranges, whatever the VMAs.
fn pages<'a>(rows: impl Iterator<Item = &'a VmaRow>, without: &[AddrRange]) -> Vec<(AddrRange, Prot)> {
    let mut pages: Vec<(AddrRange, Prot)> = Vec::new();
    for row in rows {
        let mut parts = vec![row.range];
        for cut in without {
            parts = parts.iter().flat_map(|part| minus(*part, *cut)).collect();
        }
        for part in parts {
            match pages.last_mut() {
                Some((last, prot)) if last.end() == part.start() && *prot == row.prot => {
                    *last = last.hull(part)
                }
                _ => pages.push((part, row.prot)),
            }
        }
    }
    pages
}

fn minus(range: AddrRange, cut: AddrRange) -> impl Iterator<Item = AddrRange> {
    let below = AddrRange::new(range.start(), cut.start().min(range.end()));
    let above = AddrRange::new(cut.end().max(range.start()), range.end());
    [below, above].into_iter().flatten().filter(|range| !range.is_empty())
}

/// A fault as text, with the fewest operations that were found to show it.
fn told(driver: &mut Driver, steps: &[Step], fault: &Fault) -> Result<String, Error> {
    let mut text = format!("DIFFERENT after {} operations: {}\n", fault.at + 1, fault.what);
    let mut error = None;
    let fewest = fewest(&steps[..=fault.at], |steps| match driver.run(steps) {
        Ok(answers) => first_fault(steps, &answers, &mut BTreeMap::new()).map(|fault| fault.at),
        Err(why) => {
            error = Some(why);
            None
        }
    });
    if let Some(error) = error {
        return Err(error);
    }
    let answers = driver.run(&fewest)?;
    for (step, answer) in fewest.iter().zip(&answers) {
        write!(text, "{}\n    {}: {}\n", step.line(), answer.result, shown(&answer.rows))?;
    }
    let shortest = first_fault(&fewest, &answers, &mut BTreeMap::new());
    let fault = shortest.as_ref().unwrap_or(fault);
    write!(text, "{}\nmodel:  {}\nkernel: {}", fault.what, shown(&fault.model), shown(&fault.kernel))?;
    Ok(text)
}

fn shown(rows: &[VmaRow]) -> String {
    let row = |row: &VmaRow| format!("{:x}-{:x} {}", row.range.start().0, row.range.end().0, row.prot);
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Leaves out whatever the fault does not need; `fault_at` runs a program and says which operation shows one.
fn fewest(steps: &[Step], mut fault_at: impl FnMut(&[Step]) -> Option<usize>) -> Vec<Step> {
    let mut steps = steps.to_vec();
    loop {
        let before = steps.len();
        for at in (0..before).rev() {
            if at >= steps.len() {
                continue;
            }
            let mut fewer = steps.clone();
            fewer.remove(at);
            if let Some(last) = fault_at(&fewer) {
                fewer.truncate(last + 1);
                steps = fewer;
            }
        }
        if steps.len() == before {
            return steps;
        }
    }
}

/// SplitMix64: a seed is a sequence, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % limit
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A program. Each has its own few places, protections and kinds of operations: what is rare among all meets often.
fn program(random: &mut Random, length: u64) -> Vec<Step> {
    let places = 4 + random.below(60);
    let longest = 1 + random.below(places.min(16));
    let mut prots = vec![3, 1, 3];
    for prot in [0, 5, 2, 7, 4] {
        if random.below(3) == 0 {
            prots.push(prot);
        }
    }
    let mut kinds = vec!["map", "map", "map", "unmap", "protect", "protect", "protect"];
    for (extra, one_in) in [
        ("touch", 2),
        ("lock", 3),
        ("unlock", 3),
        ("hide", 3),
        ("show", 3),
        ("resize", 3),
        ("move", 2),
        ("fork", 6),
    ] {
        if random.below(one_in) == 0 {
            kinds.push(extra);
        }
    }
    if random.below(2) == 0 {
        kinds.extend(["touch", "touch"]);
    }
    // What is sealed stays, and nothing can be done to it.
    let seals = random.below(8) == 0;
    let mut mapped = vec![false; places as usize];
    let mut step = || {
        let mut first = random.below(places);
        let mut pages = 1 + random.below(longest.min(places - first));
        let kind = match random.choose(&kinds) {
            _ if seals && random.below(40) == 0 => "seal",
            kind => kind,
        };
        // At a hole most calls are refused: few should be.
        if !matches!(kind, "map" | "unmap") && random.below(8) != 0 {
            first = (first..places).find(|page| mapped[*page as usize]).unwrap_or(first);
            let end = (first + 1..places).find(|page| !mapped[*page as usize]).unwrap_or(places);
            pages = pages.min(end - first);
        }
        let prot = random.choose(&prots);
        let mut fill = |first: u64, pages: u64, is_mapped| {
            mapped[first as usize..(first + pages) as usize].fill(is_mapped);
        };
        let kind = match kind {
            "map" => {
                fill(first, pages, true);
                Kind::Map(prot)
            }
            "unmap" => {
                fill(first, pages, false);
                Kind::Unmap
            }
            "protect" => Kind::Protect(prot),
            "lock" => Kind::Lock,
            "unlock" => Kind::Unlock,
            "hide" => Kind::Hide,
            "show" => Kind::Show,
            "seal" => Kind::Seal,
            "fork" => Kind::Fork,
            "resize" => {
                let new = 1 + random.below(longest.min(places - first));
                fill(first, pages, false);
                fill(first, new, true);
                Kind::Resize(new)
            }
            "move" => {
                let to = random.below(places);
                // Most keep their length; those that overlap themselves are refused.
                let new =
                    if random.below(4) == 0 { 1 + random.below(longest) } else { pages }.min(places - to);
                fill(first, pages, false);
                fill(to, new, true);
                Kind::Move(new, to)
            }
            _ => Kind::Touch,
        };
        Step { kind, first, pages }
    };
    (0..length).map(|_| step()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: Step = Step { kind: Kind::Map(3), first: 0, pages: 2 };

    fn answer(line: &str) -> Answer {
        Answer::parse(line).unwrap()
    }

    /// Checks that equal rows are equal, that a merge is asked about and learnt, and that neither is a fault.
    #[test]
    fn an_answer_is_learnt() {
        let mut space = AddressSpace::new(PageSize::FOUR_KIB);
        let first = follow(&mut space, &MAP, &answer("0 10000000-10002000 3")).unwrap();
        assert_eq!(first, Count { done: 1, ..Count::default() });
        let next = Step { first: 2, ..MAP };
        let second = follow(&mut space, &next, &answer("0 10000000-10004000 3")).unwrap();
        assert_eq!(second, Count { done: 1, asked: 1, news: 1, refused: 0 });
        assert_eq!(space.vma_count(), 1);
    }

    /// Checks that a page more, another protection and a cut that nobody asked about are each a fault.
    #[test]
    fn what_differs_is_a_fault() {
        for kernel in
            ["0 10000000-10003000 3", "0 10000000-10002000 1", "0 10000000-10001000 3 10001000-10002000 3"]
        {
            let mut space = AddressSpace::new(PageSize::FOUR_KIB);
            assert!(follow(&mut space, &MAP, &answer(kernel)).is_err(), "{kernel}");
        }
    }

    /// Checks that a call that failed may have changed its own range, and no page outside.
    #[test]
    fn a_refused_call_may_have_changed_its_range() {
        let protect = Step { kind: Kind::Protect(1), first: 1, pages: 4 };
        let after = |kernel: &str| {
            let mut space = AddressSpace::new(PageSize::FOUR_KIB);
            follow(&mut space, &MAP, &answer("0 10000000-10002000 3")).unwrap();
            follow(&mut space, &protect, &answer(kernel)).map(|count| (count.refused, count.news))
        };
        assert_eq!(after("-12 10000000-10001000 3 10001000-10002000 1"), Ok((1, 1)));
        assert!(after("-12 10000000-10001000 1 10001000-10002000 3").is_err());
    }

    /// Checks that what a fault does not need is left out, what follows it too.
    #[test]
    fn only_what_a_fault_needs_is_kept() {
        let steps: Vec<Step> = (0..20).map(|first| Step { first, ..MAP }).collect();
        let needs = |steps: &[Step]| {
            let at = |page| steps.iter().position(|step| step.first == page);
            at(3)?.max(at(11)?).into()
        };
        let kept: Vec<u64> = fewest(&steps, needs).iter().map(|step| step.first).collect();
        assert_eq!(kept, [3, 11]);
    }

    /// Checks that a seed gives the same programs each time, with lines that fit into a pipe.
    #[test]
    fn a_seed_is_a_program() {
        let steps = program(&mut Random(7), LENGTH);
        assert_eq!(steps, program(&mut Random(7), LENGTH));
        assert_ne!(steps, program(&mut Random(8), LENGTH));
        assert!(steps.iter().map(|step| step.line().len() + 1).sum::<usize>() < 60_000);
    }
}
