//! Black-box tests, one module a topic.

mod vectors;
