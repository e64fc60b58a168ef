"""Load data sets and split them so that no row of the test part is in another part.

Data is cleaned in three steps. Readers strip values, and refuse values that are not texts or labels
(`_values`). The split compares texts without case and repeated white space (`bmc.split`). The
tokenizer replaces HTML line breaks by spaces (`bmc.inputs.text`), in training and on devices alike.

A data set is a file that ends with `DATA_SET = DataSet(...)`. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from bmc.data._clips import clips_in_memory as clips_in_memory
from bmc.data._dataset import Dataset as Dataset
from bmc.data._dataset import Examples as Examples
from bmc.data._dataset import Labels as Labels
from bmc.data._dataset import Table as Table
from bmc.data._dataset import check_same as check_same
from bmc.data._dataset import count_of_spaced as count_of_spaced
from bmc.data._dataset import histogram as histogram
from bmc.data._dataset import image_shape as image_shape
from bmc.data._dataset import lengths as lengths
from bmc.data._dataset import with_fewer_rows as with_fewer_rows
from bmc.data._features import ALL_FEATURES as ALL_FEATURES
from bmc.data._features import column_names as column_names
from bmc.data._features import features_in_memory as features_in_memory
from bmc.data._features import number_in as number_in
from bmc.data._imagefolder import images_in as images_in
from bmc.data._loading import load as load
from bmc.data._loading import words_in_memory as words_in_memory
from bmc.data._loading import words_table as words_table
from bmc.data._parts import split as split
from bmc.data._summary import Summary as Summary
from bmc.data._tables import FORMATS as FORMATS
from bmc.data._tables import records as records
from bmc.data._transfer import TransferRows as TransferRows
from bmc.data._transfer import fresh_rows as fresh_rows
from bmc.data._transfer import transfer_rows as transfer_rows
from bmc.data._values import Values as Values
from bmc.data._values import characters as characters
from bmc.data._vectors import Reference as Reference
from bmc.data._vectors import compared as compared
from bmc.data._vectors import labels_of as labels_of
from bmc.data._vectors import with_reference as with_reference
from bmc.data._where import locate as locate
from bmc.data_files import opened as opened
from bmc.folds import Fold as Fold
from bmc.split import content_of as content_of
from bmc.split import keys_of as keys_of
