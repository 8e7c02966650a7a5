//! The escrow of a limit: whatever its threads do, what is out never exceeds the limit nor what the
//! disk holds as spent, and none of the limit is lost.

use crate::Model;
use crate::coin_map::CoinMap;
use crate::id::{LineageId, TokenId};
use crate::money::{Amount, Coin};
use crate::policy::{
    Book, Charge, Denied, Draw, Escrow, Ledger, LocalRules, Moment, Outcome, Purpose, Sample,
};
use crate::token::{SpendingLimit, TokenInfo, TokenKind};
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::iter;

pub(crate) const MODELS: [Model; 6] = [
    ("of a limit of three, three of four draws by two threads are made", drawn_by_two),
    ("of a limit of two, two of three draws by three threads are made", drawn_by_three),
    ("what is refused and given back can be drawn again", given_back),
    ("what is returned while others draw is neither lost nor drawn twice", posted),
    ("nobody waits for ever for what the disk refused", refused_by_the_disk),
    ("a spend that is lost while bitgo is asked stays counted", sampled),
];

/// A disk, and all that has left the vault.
struct Disk {
    state: Mutex<State>,
    fails: bool,
}

#[derive(Default)]
struct State {
    begun: Vec<Book>,
    /// The last of them that is on the disk.
    durable: Option<usize>,
    /// Reserved, and not given back.
    out: u128,
}

struct Failed;

impl From<Denied> for Failed {
    fn from(_: Denied) -> Self {
        Self
    }
}

impl Ledger for Disk {
    type Pending = usize;
    type Error = Failed;

    fn may_take(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn begin(&self, _: LineageId, book: &Book) -> Result<usize, Failed> {
        let mut state = self.state.lock().expect("a lock");
        state.begun.push(book.clone());
        Ok(state.begun.len() - 1)
    }

    fn wait(&self, pending: usize) -> Result<(), Failed> {
        if self.fails {
            return Err(Failed);
        }
        let mut state = self.state.lock().expect("a lock");
        state.durable = state.durable.max(Some(pending));
        Ok(())
    }
}

/// One limit, its escrow, and the disk under it.
struct Scene {
    escrow: Escrow,
    disk: Disk,
    charges: [Charge; 1],
    limit: u128,
}

impl Scene {
    fn new(limit: u128, fails: bool) -> Arc<Self> {
        let coin = Coin::new("tbtc").expect("a coin");
        let server = SpendingLimit { limit: Some(Amount::new(limit)), spent: Amount::ZERO };
        let book = Book::begin(
            &info(iter::once((coin.clone(), server)).collect()),
            &LocalRules::default(),
        );
        let purpose = Purpose::Withdrawal;
        let charge = Charge { purpose, coin, is_erc20: false, amount: Amount::new(1) };
        let disk = Disk { state: Mutex::default(), fails };
        let escrow = Escrow::new(LineageId::from_bytes([1; 16]), book);
        Arc::new(Self { escrow, disk, charges: [charge], limit })
    }

    /// Reserves one, if there is one.
    fn draw(&self) -> Option<Draw> {
        let draw = self.escrow.reserve(&self.disk, &self.charges, Moment::default()).ok()?;
        let mut state = self.disk.state.lock().expect("a lock");
        state.out += 1;
        assert!(state.out <= self.limit, "more is out than the limit allows");
        let durable = state.durable.and_then(|at| state.begun.get(at)).expect("it is durable");
        let counted = spent(&durable.clone().after_crash());
        assert!(state.out <= counted, "{} are out, and a crash would count {counted}", state.out);
        Some(draw)
    }

    fn give_back(&self, draw: Draw) {
        self.disk.state.lock().expect("a lock").out -= 1;
        self.escrow.settle(&self.charges, draw, Outcome::Rejected);
    }

    fn spend(&self, draw: Draw) {
        self.escrow.settle(&self.charges, draw, Outcome::Accepted);
    }
}

/// All that counts as spent in a book.
fn spent(book: &Book) -> u128 {
    let counters = book.counters();
    let used = counters.iter().filter_map(|(_, counter)| counter.used());
    used.map(Amount::base_units).sum()
}

fn info(spending_limits: CoinMap<SpendingLimit>) -> TokenInfo {
    let id = TokenId::from_bytes([2; 16]);
    TokenInfo { spending_limits, ..TokenInfo::unknown(id, TokenKind::LongLived) }
}

/// How many of so many draws were made, each of them spent.
fn draws(scene: &Scene, times: usize) -> usize {
    (0..times).filter_map(|_| scene.draw().map(|draw| scene.spend(draw))).count()
}

fn by_threads(scene: &Arc<Scene>, threads: usize, times: usize) -> usize {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let scene = Arc::clone(scene);
            thread::spawn(move || draws(&scene, times))
        })
        .collect();
    let own = draws(scene, times);
    own + others.into_iter().map(|other| other.join().expect("it ends")).sum::<usize>()
}

fn drawn_by_two() {
    assert_eq!(by_threads(&Scene::new(3, false), 2, 2), 3);
}

fn drawn_by_three() {
    assert_eq!(by_threads(&Scene::new(2, false), 3, 1), 2);
}

fn given_back() {
    let scene = Scene::new(1, false);
    let other = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || scene.draw().map(|draw| scene.give_back(draw)).is_some())
    };
    let own = scene.draw().map(|draw| scene.give_back(draw)).is_some();
    let other = other.join().expect("it ends");
    assert!(own || other, "one of them was first");
    assert_eq!(draws(&scene, 2), 1, "what was given back is there");
}

fn posted() {
    // Large enough that a take leaves some to spare.
    let scene = Scene::new(40, false);
    draws(&scene, 1);
    let clerk = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || {
            assert!(scene.escrow.give_back(&scene.disk).is_ok());
            assert!(scene.escrow.post(&scene.disk).is_ok());
        })
    };
    draws(&scene, 2);
    clerk.join().expect("it ends");
    assert_eq!(draws(&scene, 40), 37, "none is lost");
}

fn refused_by_the_disk() {
    let scene = Scene::new(1, true);
    assert_eq!(by_threads(&scene, 2, 1), 0);
    let left = scene.escrow.look(spent);
    assert_eq!(left, 0, "what never was durable does not count");
}

/// One thread signs a spend whose answer is lost; the other takes a sample that BitGo gave before. It
/// frees what is uncertain only where nothing was signed since it was asked for.
fn sampled() {
    let scene = Scene::new(2, false);
    let spender = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || {
            let draw = scene.draw().expect("there is room");
            scene.escrow.sign(1);
            scene.escrow.settle(&scene.charges, draw, Outcome::Uncertain);
            scene.escrow.resolve();
        })
    };
    let (before, quiet) = (scene.escrow.look(Book::sampling), scene.escrow.quiet());
    let counted = SpendingLimit { limit: Some(Amount::new(2)), spent: Amount::ZERO };
    let limits = iter::once((scene.charges[0].coin.clone(), counted)).collect();
    let sampled = scene.escrow.change(
        &scene.disk,
        |book| {
            let is_quiescent = quiet.is_some() && scene.escrow.quiet() == quiet;
            book.sample(
                &before,
                &Sample { limits: &limits, pool: None, server_ms: 1, is_quiescent },
            )
        },
        |after| scene.disk.begin(scene.escrow.lineage(), after),
    );
    assert!(sampled.is_ok());
    spender.join().expect("it holds");
    let uncertain = scene.escrow.look(spent);
    assert!(
        uncertain == 1 || quiet.is_some_and(|quiet| quiet.last_signed_ms == 1),
        "{uncertain} counted"
    );
}
