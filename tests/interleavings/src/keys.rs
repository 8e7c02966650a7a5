//! The slots of keys: whoever reads gets a whole key, its own, or none.

use crate::Model;
use crate::key_slots::{KeyPlace, KeySlots, Words};
use loom::sync::Arc;
use loom::thread;

pub(crate) const MODELS: [Model; 5] = [
    ("a key is read whole or not at all while another takes its slot", replaced),
    ("a token reads its own key while two fight for one slot", fought_for),
    ("a key that ends while it is read is whole or none, and none afterwards", ended),
    ("a key that ends while it is kept is none afterwards", ended_while_kept),
    ("slots that are shut while a key is kept hold none afterwards", shut),
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pair([u32; 2]);

impl Words<2> for Pair {
    fn words(&self) -> impl Iterator<Item = u32> {
        self.0.into_iter()
    }

    fn set(&mut self, words: impl Iterator<Item = u32>) {
        self.0.iter_mut().zip(words).for_each(|(place, word)| *place = word);
    }
}

const KEYS: [Pair; 2] = [Pair([1, 10]), Pair([2, 20])];

/// One slot, and two tokens that want it.
struct Scene {
    slots: KeySlots<2, 1>,
    places: [KeyPlace; 2],
}

impl Scene {
    fn new() -> Arc<Self> {
        let places = [KeyPlace::nowhere(), KeyPlace::nowhere()];
        Arc::new(Self { slots: KeySlots::new(), places })
    }

    fn keep(&self, token: usize) {
        self.slots.keep(&self.places[token], &KEYS[token]);
    }

    /// Whether the token has a key at hand, which must then be its own.
    fn reads(&self, token: usize) -> bool {
        let mut key = Pair::default();
        let is_read = self.slots.read(&self.places[token], &mut key);
        assert!(!is_read || key == KEYS[token], "{key:?} is not the key of token {token}");
        is_read
    }
}

fn beside(scene: &Arc<Scene>, work: impl FnOnce(&Scene) + 'static) -> thread::JoinHandle<()> {
    let scene = Arc::clone(scene);
    thread::spawn(move || work(&scene))
}

fn replaced() {
    let scene = Scene::new();
    scene.keep(0);
    let writer = beside(&scene, |scene| scene.keep(1));
    let reader = beside(&scene, |scene| {
        scene.reads(1);
    });
    scene.reads(0);
    writer.join().expect("the writer ends");
    reader.join().expect("the reader ends");
    assert!(!(scene.reads(0) && scene.reads(1)), "one slot holds one key");
}

fn fought_for() {
    let scene = Scene::new();
    let other = beside(&scene, |scene| {
        scene.keep(1);
        scene.reads(1);
    });
    scene.keep(0);
    scene.reads(0);
    other.join().expect("the other ends");
    assert!(!(scene.reads(0) && scene.reads(1)), "one slot holds one key");
}

fn ended() {
    let scene = Scene::new();
    scene.keep(0);
    let reader = beside(&scene, |scene| {
        scene.reads(0);
    });
    scene.slots.end(&scene.places[0]);
    assert!(!scene.reads(0), "it has ended");
    reader.join().expect("the reader ends");
}

fn ended_while_kept() {
    let scene = Scene::new();
    let keeper = beside(&scene, |scene| {
        scene.keep(0);
        scene.reads(0);
    });
    scene.slots.end(&scene.places[0]);
    keeper.join().expect("the keeper ends");
    assert!(!scene.reads(0), "it has ended");
}

fn shut() {
    let scene = Scene::new();
    let keeper = beside(&scene, |scene| scene.keep(0));
    scene.slots.shut();
    keeper.join().expect("the keeper ends");
    assert!(!scene.reads(0), "nothing is kept");
}
