//! What every generator of live music offers to the pod.
#![forbid(unsafe_code)]
