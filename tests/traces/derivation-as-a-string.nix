"${toString derivation}"
