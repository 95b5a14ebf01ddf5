make -C "$CHECKOUT" --old-file .venv/docs.installed BIN="$BIN" docs
test -s "$CHECKOUT/docs/_build/html/api.html"
