"""What each verb does: settings in, a typed result out; nothing here prints or parses options."""
