//! What nobody asked for: the network, other processes, clocks, the disk, signals, crashes; and the healing.

use greenroom_director::{ConnectionId, Director, Event, JobId, Moment, Outcome, Span};

use super::{
    Chance, Deed, Device, End, Fault, MACHINE, Mark, Onlooker, Stand, Tamper, Thing, Violation, WEATHER, World,
};
use crate::disk::Trouble;

/// What comes by itself, in the order in which it strikes.
const CLASSES: [Fault; 13] = [
    Fault::StaleEvents,
    Fault::ForeignMemory,
    Fault::Storm,
    Fault::Garbage,
    Fault::DiskFull,
    Fault::DiskReadOnly,
    Fault::ClockBack,
    Fault::ClockJumps,
    Fault::Suspend,
    Fault::DeviceLost,
    Fault::Shutdown,
    Fault::Killed,
    Fault::PowerLoss,
];

impl World {
    /// Things that nobody asked for.
    pub(super) fn whim(&mut self) -> Result<(), Violation> {
        self.disk.sweep();
        if self.healing {
            return Ok(());
        }
        self.whims += 1;
        let deed = Deed {
            actor: Deed::WEATHER,
            number: self.whims,
        };
        let mut chance = self.chance(WEATHER, u64::from(self.whims));
        let wait = Span(chance.between(10_000, 1_000_000));
        self.soon(wait, Thing::Whim);
        if !self.does(deed) {
            return Ok(());
        }
        // Each class draws whether or not it is on, so that leaving one out changes nothing for the others.
        let struck: Vec<Fault> = CLASSES
            .into_iter()
            .filter(|fault| Chance::seeded(chance.next()).permille(self.faults.weight(*fault)))
            .collect();
        self.befall(&|fault| struck.contains(&fault), &mut chance)
    }

    /// What strikes at one moment.
    fn befall(&mut self, strikes: &dyn Fn(Fault) -> bool, chance: &mut Chance) -> Result<(), Violation> {
        let restarts = self.restarts;
        if strikes(Fault::StaleEvents) {
            self.stale(chance)?;
        }
        if strikes(Fault::ForeignMemory) {
            self.take_memory(chance);
        }
        if strikes(Fault::Storm) {
            self.cut_network(chance)?;
        }
        if strikes(Fault::Garbage) {
            self.garbage()?;
        }
        let full = strikes(Fault::DiskFull);
        if full || strikes(Fault::DiskReadOnly) {
            self.disk.trouble = Some(if full { Trouble::Full } else { Trouble::ReadOnly });
            self.soon(Span(chance.between(100_000, 4_000_000)), Thing::DiskHeals);
        }
        if strikes(Fault::ClockBack) {
            self.marks.hit(Mark::ClockBack);
            self.clock_behind = Span(chance.between(1, 20_000_000));
        }
        if strikes(Fault::ClockJumps) {
            self.jump(chance)?;
        }
        if strikes(Fault::Suspend) {
            self.suspend(chance);
        }
        if strikes(Fault::DeviceLost) {
            self.device.lose();
            self.soon(Span(chance.between(0, 2_000_000)), Thing::LossSeen);
        }
        if strikes(Fault::Shutdown) {
            if self.strikes(chance, Fault::ShutdownTwice) {
                self.soon(Span(chance.between(0, 3_000_000)), Thing::Sigterm);
            }
            self.tell(Event::ShutdownAsked)?;
        }
        // One process ends once.
        let power = strikes(Fault::PowerLoss);
        if (power || strikes(Fault::Killed)) && restarts == self.restarts {
            return self.restart(if power { End::Machine } else { End::Process });
        }
        Ok(())
    }

    /// Messages about what is gone.
    fn stale(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        let job = JobId(chance.between(0, 40));
        if !self.jobs.iter().any(|running| running.job == job) {
            self.tell(Event::JobEnded {
                job,
                outcome: Outcome::Done,
            })?;
        }
        if self.built.all().next().is_some()
            && let Some(track) = chance.pick(&self.tracks)
        {
            // It is played in another way now, or something else is built.
            let engines = self.built.serving(track.0 + chance.between(0, 2));
            self.tell(Event::SourceMeasured { track, engines })?;
        }
        let connection = ConnectionId(chance.between(0, 60));
        if self.gone.contains(&connection) {
            self.tell(Event::ConnectionGone { connection })?;
            self.tell(Event::PromptAsked { connection })?;
        }
        self.tell(Event::GateDrained { closing: 0 })
    }

    /// Another process takes memory, or gives some back; the pod looks every few seconds.
    fn take_memory(&mut self, chance: &mut Chance) {
        self.foreign = chance.between(0, 60);
        self.device.set_foreign(self.foreign);
        self.soon(Span(chance.between(0, 5_000_000)), Thing::ForeignSeen);
    }

    /// Everybody's socket closes at once, and everybody comes back.
    fn cut_network(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        let everybody = chance.permille(700);
        let open = |stand: Stand| !matches!(stand, Stand::Away | Stand::HalfOpen);
        let cut: Vec<ConnectionId> = self
            .clients
            .iter()
            .filter(|client| open(client.stand))
            .map(|client| client.connection)
            .collect();
        for connection in cut {
            if everybody || chance.permille(500) {
                self.go(connection)?;
            }
        }
        for client in &mut self.clients {
            client.not_before = client.not_before.min(self.now + Span(chance.between(0, 4_000_000)));
        }
        Ok(())
    }

    /// Time jumps; deadlines come before whatever else was due.
    fn jump(&mut self, chance: &mut Chance) -> Result<(), Violation> {
        let to = self.now + Span::seconds(chance.between(1, 90));
        if self.director.next_deadline().is_some_and(|deadline| deadline < to) {
            self.marks.hit(Mark::JumpOverDeadline);
        }
        self.now = to;
        self.tell(Event::Timer)
    }

    /// The machine sleeps: whatever was due comes late, things before deadlines.
    fn suspend(&mut self, chance: &mut Chance) {
        self.now = self.now + Span::seconds(chance.between(30, 600));
        if !self.jobs.is_empty() {
            self.marks.hit(Mark::Suspended);
        }
    }

    /// The process ended; the supervisor starts another.
    pub(super) fn restart(&mut self, end: End) -> Result<(), Violation> {
        self.restarts += 1;
        if let Some(record) = &mut self.record {
            record.restart(self.now, end == End::Machine);
        }
        self.onlooker.crash(&mut self.marks);
        let kept = self.tracks.iter().any(|track| self.disk.is_acked(*track));
        if end == End::Machine {
            let mut chance = self.chance(MACHINE, self.restarts);
            self.disk.lose_power(&mut chance);
            if kept && self.plan.uploads == greenroom_director::Uploads::Keep {
                self.marks.hit(Mark::AckedSurvivesCrash);
            }
        }
        self.director = Director::new(self.plan.clone());
        self.device = Device::new(&self.plan, &self.built);
        self.device.set_foreign(self.foreign);
        self.onlooker = Onlooker::default();
        self.queue.end_process();
        self.ended = None;
        self.hung_gate = None;
        self.jobs.clear();
        self.rips.clear();
        self.tracks.clear();
        self.stuck.clear();
        if self.foreign > 0 {
            self.soon(Span::milliseconds(1), Thing::ForeignSeen);
        }
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.stand != Stand::Away {
                self.gone.insert(client.connection);
                let mut chance = Chance::apart(self.seed, super::SOCKETS, client.connection.0 ^ (1 << 42));
                self.clients[index].gone(self.now, &mut chance, true);
            }
        }
        // Job numbers begin anew, connection and track numbers go on: the new process would too, its counters are its own.
        self.boot()
    }

    /// All faults off: whoever is wedged or hung is let go, the disk works, other processes give back what they took.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.healing = true;
        self.disk.trouble = None;
        self.device.complete_frees();
        self.foreign = 0;
        self.device.set_foreign(0);
        let soon = self.now + Span::milliseconds(1);
        self.let_go(soon);
        if self.tamper != Some(Tamper::LosesAJob) {
            let hung: Vec<JobId> = self
                .jobs
                .iter()
                .filter(|running| running.hangs)
                .map(|running| running.job)
                .collect();
            for job in hung {
                self.queue.add(soon, Thing::JobEnds(job, Outcome::Cancelled));
            }
        }
        if let Some(closing) = self.hung_gate.take() {
            self.queue.add(soon, Thing::Drained(closing));
        }
        if self.device.lost {
            self.queue.add(soon, Thing::LossSeen);
        }
        self.queue.add(Moment(soon.0 + 1_000), Thing::Whim);
        self.tell(Event::ForeignMemory { bytes: 0 })
    }
}
