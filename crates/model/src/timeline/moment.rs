//! Moments by name: when a program began, was largest, ended.

use super::tree::{SpaceNode, Tree};
use super::{Timeline, TimelineError};
use vmatlas_event::{Bytes, EventSource, MmId, MonoNs, Pid, Seq};

/// A moment, as a person names it after `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After this event.
    Event(Seq),
    /// So many nanoseconds after the start of the recording: after the last event that was left by then. The first event
    /// where none was, and the last one for any time after it.
    Time(u64),
    /// When a process has executed its nth program, from 1, and its map is known.
    Exec(u32),
    /// When the virtual size was the largest, for the first time.
    Peak,
    /// The last state alive.
    Exit,
    /// The first mark of this name.
    Mark(String),
    /// After the last event.
    End,
}

/// Whose moment it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The first process's of the recording.
    #[default]
    First,
    /// A process's.
    Process(Pid),
    /// An address space's.
    Space(MmId),
}

/// Where a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// After this event.
    pub seq: Seq,
    /// The address space in question at that moment; `None` where the process had none, for it had ended or was not
    /// there yet.
    pub mm: Option<MmId>,
}

impl Moment {
    /// Reads what stands after `@`: `1042` or `#1042`, `1.25s`, `3ms`, `2us`, `7ns`, `exec`, `exec:2`, `peak`, `exit`,
    /// `end`, or else a mark's name. A mark that is called like one of these is reached with `mark:NAME`.
    ///
    /// ```
    /// use vmatlas_model::timeline::Moment;
    /// assert_eq!(Moment::parse("1.25s"), Moment::Time(1_250_000_000));
    /// assert_eq!(Moment::parse("mark:peak"), Moment::Mark("peak".to_owned()));
    /// ```
    pub fn parse(text: &str) -> Moment {
        let number = text.strip_prefix('#').unwrap_or(text);
        if let Some(seq) = decimal(number) {
            return Moment::Event(Seq(seq));
        }
        match text {
            "exec" => return Moment::Exec(1),
            "peak" => return Moment::Peak,
            "exit" => return Moment::Exit,
            "end" => return Moment::End,
            _ => {}
        }
        if let Some(name) = text.strip_prefix("mark:") {
            return Moment::Mark(name.to_owned());
        }
        let nth = text.strip_prefix("exec:").and_then(decimal).and_then(|nth| u32::try_from(nth).ok());
        if let Some(nth) = nth.filter(|nth| *nth > 0) {
            return Moment::Exec(nth);
        }
        time(text).map_or_else(|| Moment::Mark(text.to_owned()), Moment::Time)
    }
}

fn decimal(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Nanoseconds; digits beyond a nanosecond do not count.
fn time(text: &str) -> Option<u64> {
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole = decimal(whole)?.checked_mul(unit)?;
    if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = part.bytes().fold((0, unit), |(sum, scale), digit| {
        let scale = scale / 10;
        (sum + u64::from(digit - b'0') * scale, scale)
    });
    whole.checked_add(part.0)
}

impl<S: EventSource> Timeline<S> {
    /// Finds a moment without going there; only [`Moment::Peak`] moves the timeline, to that moment.
    ///
    /// # Errors
    /// Those of the source; [`TimelineError::NoSuchMoment`] and the like where the recording does not have it.
    pub fn locate(&mut self, moment: &Moment, whose: Whose) -> Result<Spot, TimelineError<S::Error>> {
        let last = self.source.last().ok_or(TimelineError::NoSuchMoment)?;
        let start = self.start;
        let pid = match whose {
            Whose::First => self.tree()?.root(),
            Whose::Process(pid) => match self.tree()?.of(pid).next() {
                Some(_) => Some(pid),
                None => return Err(TimelineError::NoSuchProcess(pid)),
            },
            Whose::Space(mm) => match self.tree()?.get(mm) {
                Some(_) => None,
                None => return Err(TimelineError::NoSuchSpace(mm)),
            },
        };
        let seq = match moment {
            Moment::Event(seq) => (*seq).min(last),
            Moment::End => last,
            Moment::Time(since) => {
                let at = MonoNs(start.0.saturating_add(*since));
                self.source.at_time(at).map_err(TimelineError::Source)?.unwrap_or(Seq(0))
            }
            Moment::Mark(name) => {
                let marks = &self.tree()?.marks;
                marks.iter().find(|(mark, _)| mark == name).ok_or(TimelineError::NoSuchMoment)?.1
            }
            Moment::Exec(nth) => {
                let nth = usize::try_from(nth.saturating_sub(1)).unwrap_or(usize::MAX);
                let tree = self.tree()?;
                let mut begun = nodes(tree, whose, pid).filter(|(node, _)| node.how == super::How::Executed);
                let (node, _) = begun.nth(nth).ok_or(TimelineError::NoSuchMoment)?;
                return Ok(Spot { seq: node.known, mm: Some(node.mm) });
            }
            Moment::Exit => {
                let tree = self.tree()?;
                let (node, end) = nodes(tree, whose, pid).last().ok_or(TimelineError::NoSuchMoment)?;
                let seq = end.map_or(Some(last.0), |end| end.0.checked_sub(1));
                return Ok(Spot { seq: Seq(seq.unwrap_or(0)).min(last), mm: Some(node.mm) });
            }
            Moment::Peak => return self.peak(whose, pid, last),
        };
        let mm = match whose {
            Whose::Space(mm) => Some(mm),
            _ => self.tree()?.at(pid, seq),
        };
        Ok(Spot { seq, mm })
    }

    /// Goes to a moment.
    ///
    /// # Errors
    /// Those of [`locate`](Timeline::locate) and [`seek_event`](Timeline::seek_event).
    pub fn seek(&mut self, moment: &Moment, whose: Whose) -> Result<Spot, TimelineError<S::Error>> {
        let spot = self.locate(moment, whose)?;
        self.seek_event(spot.seq)?;
        Ok(spot)
    }

    /// The first moment at which the largest of the address spaces in question is as large as it ever was.
    fn peak(&mut self, whose: Whose, pid: Option<Pid>, last: Seq) -> Result<Spot, TimelineError<S::Error>> {
        let lives: Vec<(MmId, Seq, Seq)> = nodes(self.tree()?, whose, pid)
            .map(|(node, end)| (node.mm, node.first, end.map_or(last, |end| Seq(end.0.saturating_sub(1)))))
            .collect();
        let mut largest: Option<(Bytes, (MmId, Seq, Seq))> = None;
        for life in lives {
            self.seek_event(life.2)?;
            let peak = self.space(life.0).map(|space| space.peak());
            if let Some(peak) = peak.filter(|peak| largest.is_none_or(|(most, _)| *peak > most)) {
                largest = Some((peak, life));
            }
        }
        let (peak, (mm, first, end)) = largest.ok_or(TimelineError::NoSuchMoment)?;
        // The largest size so far only grows: keyframes before that moment show less, those after it that size.
        let (mut from, mut to) = (first.0, end.0);
        while from < to {
            let middle = from + (to - from) / 2;
            let keyframe = self.keyframe(Seq(middle))?;
            let state =
                keyframe.and_then(|keyframe| keyframe.spaces.into_iter().find(|state| state.mm == mm));
            if state.is_some_and(|state| state.peak >= peak) { to = middle } else { from = middle + 1 }
        }
        // No keyframe before `to` shows that size: the events before it lead there.
        self.seek_event(Seq(to.saturating_sub(1)))?;
        let is_reached = |timeline: &Self| timeline.space(mm).is_some_and(|space| space.peak() >= peak);
        if is_reached(self) {
            // By events after the latest keyframe that shows less.
            while is_reached(self) && self.step_back(Some(mm))? {}
            self.step_forward(Some(mm))?;
        }
        while !is_reached(self) && self.step_forward(Some(mm))? {}
        let seq = self.position().seq.ok_or(TimelineError::NoSuchMoment)?;
        Ok(Spot { seq, mm: Some(mm) })
    }
}

/// The address spaces that are meant, in order, each with the event that ended its use.
fn nodes(
    tree: &Tree,
    whose: Whose,
    pid: Option<Pid>,
) -> Box<dyn Iterator<Item = (&SpaceNode, Option<Seq>)> + '_> {
    match (whose, pid) {
        (Whose::Space(mm), _) => Box::new(tree.get(mm).map(|node| (node, node.last)).into_iter()),
        (_, Some(pid)) => Box::new(tree.of(pid).map(|(node, tenancy)| (node, tenancy.last))),
        (_, None) => Box::new(std::iter::empty()),
    }
}

impl Tree {
    /// The address space of a process after an event.
    fn at(&self, pid: Option<Pid>, seq: Seq) -> Option<MmId> {
        let of_pid = self.of(pid?);
        let there =
            of_pid.filter(|(_, tenancy)| tenancy.first <= seq && tenancy.last.is_none_or(|last| seq < last));
        there.last().map(|(node, _)| node.mm)
    }
}
