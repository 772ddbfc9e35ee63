//! Messages and codecs of the protocol between a client and the pod.
#![forbid(unsafe_code)]
