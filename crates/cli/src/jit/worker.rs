//! A thread that answers questions in their order, and whoever asks waits only so long.
//!
//! A file on a dead network share, or one of a process that is its own file server (FUSE), blocks who opens or reads it, and no
//! check ends that. So this is done here, where no traced thread waits for it. The queue is bounded; a question that is not
//! answered in time stays in it and its answer is taken later, if it comes. The thread ends with the process at the latest.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many questions wait at most.
pub(super) const QUEUE: usize = 256;
/// After so many answers that came too late nobody waits any more.
const LATE: usize = 4;

/// What comes back: any number of sayings for each question, then its number.
enum Word<A> {
    Said(A),
    Done(u64),
}

/// Who asks.
pub(super) struct Worker<Q, A> {
    questions: SyncSender<(u64, Q)>,
    words: Receiver<Word<A>>,
    /// The numbers of the last question, of the last one that was answered, and of the last one whose answer was late.
    asked: u64,
    answered: u64,
    missed: u64,
    late: usize,
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts one whose thread calls `work` with each question and what takes sayings; `None` where the system has no thread
    /// for us.
    pub(super) fn start(mut work: impl FnMut(Q, &mut dyn FnMut(A)) + Send + 'static) -> Option<Worker<Q, A>> {
        let (questions, asked) = sync_channel::<(u64, Q)>(QUEUE);
        let (say, words) = channel();
        let run = move || {
            while let Ok((number, question)) = asked.recv() {
                // Where nobody listens, nobody asks either.
                work(question, &mut |said| {
                    let _ = say.send(Word::Said(said));
                });
                if say.send(Word::Done(number)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("vmatlas-made-code".to_owned()).spawn(run).ok()?;
        Some(Worker { questions, words, asked: 0, answered: 0, missed: 0, late: 0 })
    }

    /// Puts a question into the queue; its number, or `None` where there is no room.
    pub(super) fn ask(&mut self, question: Q) -> Option<u64> {
        let number = self.asked + 1;
        self.questions.try_send((number, question)).ok()?;
        self.asked = number;
        Some(number)
    }

    /// Takes what is said until all questions are answered, and waits so long for each word, and to this moment at most;
    /// whether they are.
    pub(super) fn wait_for_all(&mut self, each: Duration, end: Instant, said: &mut dyn FnMut(A)) -> bool {
        while self.answered < self.asked {
            let limit = end.saturating_duration_since(Instant::now()).min(each);
            match self.words.recv_timeout(limit) {
                Ok(Word::Done(answered)) => self.answered = answered,
                Ok(Word::Said(saying)) => said(saying),
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes what is said up to the answer to a question; whether that was in time. This is for somebody who holds others
    /// up: it waits so long in all, and not at all where an earlier answer is not there yet, or too many came too late.
    pub(super) fn wait_shortly(&mut self, number: u64, limit: Duration, said: &mut dyn FnMut(A)) -> bool {
        let may_wait = self.answered >= self.missed && self.late < LATE;
        let end = Instant::now() + if may_wait { limit } else { Duration::ZERO };
        while self.answered < number {
            match self.words.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Word::Done(answered)) => self.answered = answered,
                Ok(Word::Said(saying)) => said(saying),
                Err(_) => {
                    self.missed = number;
                    self.late += usize::from(may_wait);
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};

    const LONG: Duration = Duration::from_secs(600);

    /// Checks that questions behind one that waits for a FIFO are not lost up to the bound, that nobody waits for them, and
    /// that answers come in the order of the questions once the FIFO has a writer.
    #[test]
    fn order_is_kept_behind_one_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let path = fifo.clone();
        let work = move |question: u64, say: &mut dyn FnMut(u64)| {
            if question == 0 {
                drop(File::open(&path).unwrap());
            }
            say(question);
        };
        let mut worker = Worker::start(work).unwrap();
        let mut said = Vec::new();
        let first = worker.ask(0).unwrap();
        assert!(!worker.wait_shortly(first, Duration::from_millis(1), &mut |said| panic!("{said}")));
        // One is at work or not yet taken.
        let last = (1..).map_while(|question| worker.ask(question)).last().unwrap();
        assert!((QUEUE as u64..QUEUE as u64 + 2).contains(&last), "{last}");
        // Nobody waits behind one that is late: this would take ten minutes.
        assert!(!worker.wait_shortly(last, LONG, &mut |said| panic!("{said}")));
        let writer = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        assert!(worker.wait_for_all(LONG, Instant::now() + LONG, &mut |question| said.push(question)));
        assert_eq!(said, (0..last).collect::<Vec<u64>>());
        drop(writer);
        // It has caught up.
        let next = worker.ask(7).unwrap();
        assert!(worker.wait_shortly(next, LONG, &mut |question| assert_eq!(question, 7)));
    }

    /// Checks that a thread which is gone answers nothing, and nobody waits for it.
    #[test]
    fn one_that_ended_is_not_waited_for() {
        let mut worker = Worker::<(), ()>::start(|(), _| std::panic::resume_unwind(Box::new(()))).unwrap();
        let number = worker.ask(()).unwrap();
        assert!(!worker.wait_shortly(number, LONG, &mut |()| {}));
    }
}
