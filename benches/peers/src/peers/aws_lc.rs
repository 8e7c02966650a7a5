//! AWS-LC, by its crate that is called as ring is.

super::ring::called_as_ring_is!(AwsLc, aws_lc_rs, "aws-lc-rs");
