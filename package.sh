#!/bin/sh
cd "$(dirname "$0")" && exec cargo run --release --package rowhouse-aws-cli -- package --out "${1:-package}"
