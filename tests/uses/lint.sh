make -C "$CHECKOUT" --old-file .venv/lint.installed BIN="$BIN" lint
