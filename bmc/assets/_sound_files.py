"""Pinned files of sound: the library espeak-ng with its voices, and recorded clips."""

from __future__ import annotations

from collections.abc import Mapping

ESPEAK: Mapping[str, str] = {
    "libespeak-ng.so.1.52.0": "b15ce0803b26254e8a0d088c6b9281a2637b2b02613147cc320cfdefaf2c3ccf",
    "espeak-ng-data/en_dict": "1053f74a34af38abb6fbd64b7838dacbc655a687c48ce1bb663d364a127b05de",
    "espeak-ng-data/intonations": (
        "031a105bf6bb2ebcd73a2c579ccfb42469b27266db0078af65ae298fd3588b21"
    ),
    "espeak-ng-data/phondata": "a0b643b155cb6b12628d9e7865b57d9fca0d35844614f2594a5e009c80c80bb4",
    "espeak-ng-data/phonindex": "384e5fa6f714ba5356c58008249b78699c31c1ad044b243068d263fb806b7d73",
    "espeak-ng-data/phontab": "1b40690667e1e9aa1ba5e5234773c799e7e72ea751426e5150423d53c3f24fa2",
    "espeak-ng-data/lang/gmw/en": (
        "4605d5330801de3641c6e366d15f129ea1f5ffbce8722642aba01ace07ab9c83"
    ),
    "espeak-ng-data/lang/gmw/en-029": (
        "faeb8cb201056775f733acbd908c66555fe57bf01cb063920f178f389cbf85d3"
    ),
    "espeak-ng-data/lang/gmw/en-GB-scotland": (
        "1ce4282c1f4385dbaf0035e799b2ab1ee9e9a3ab4829100594a3047727b52353"
    ),
    "espeak-ng-data/lang/gmw/en-GB-x-gbclan": (
        "2040e176f1f7f27bdce81c32d7e2b1662449d54d264afd3c0ed871b8e42b6e46"
    ),
    "espeak-ng-data/lang/gmw/en-GB-x-gbcwmd": (
        "927a5ab891c65b30b4426b151d1623a01024f6b773a38497ba1c90cd77a95747"
    ),
    "espeak-ng-data/lang/gmw/en-GB-x-rp": (
        "d0625af7f58561b1b8cf96fd7f93eee6553bcb3eadb9020ae0757bf96e5115e5"
    ),
    "espeak-ng-data/lang/gmw/en-US": (
        "41534c2a22df5dd4f1052ff9e1a33a3ea7bff5a26b5c02bdad5ba8ddb7524704"
    ),
    "espeak-ng-data/lang/gmw/en-US-nyc": (
        "e8ee9168376d1f7d9e7dcda7c4644c36c529a8bea816e6380895364db46ea2e3"
    ),
    "espeak-ng-data/voices/!v/Alex": (
        "1cf9874567f4fa8109329f084e9ad9ed788fb2362298921d0a04a57b24f1141f"
    ),
    "espeak-ng-data/voices/!v/Alicia": (
        "6d3f60ec866706e9d4ab7da2a79eedb8c11b50f63620f87e58317f316ea3d58e"
    ),
    "espeak-ng-data/voices/!v/Andrea": (
        "6ca52734ec2cf7c419d2d3ad7c3449cd1a1776342c4d152ea12c5b1e72801e89"
    ),
    "espeak-ng-data/voices/!v/Andy": (
        "0e13ba1a940cd9df7e65358c36445c9740f3d75f1360c7f7c71ab9f74b45edca"
    ),
    "espeak-ng-data/voices/!v/Annie": (
        "40f0f829c5c6e7abf4a02a21f128a572756d6f6693014c26d09a5c29ede5ec33"
    ),
    "espeak-ng-data/voices/!v/Denis": (
        "a09fe9f7a4e478d2ba1e139c2995633e2b99de9abdaaa82307954599b0e3d6fd"
    ),
    "espeak-ng-data/voices/!v/Diogo": (
        "a4a17c453d13242b48783c247816bff8d2cf7bc8931c3f8237887d88a2881b18"
    ),
    "espeak-ng-data/voices/!v/Gene": (
        "06258dae680cde2122a4939dbd4f23ed4ea145b7475068bf7dd4d466090afd2a"
    ),
    "espeak-ng-data/voices/!v/Henrique": (
        "5c6bf1cf5b6bc7c7d48f2a8368ae348c6ff64232c047f40f9d9a6e6824b4ce6a"
    ),
    "espeak-ng-data/voices/!v/Hugo": (
        "906acbef890dc4da67cb54b5b0ddc2cab7ee308a95d350c899f0b0cb6a83dd5f"
    ),
    "espeak-ng-data/voices/!v/Lee": (
        "a1584887cddb40c10e04992fb770025b52e66b70504656094f80975f1d6bbf6b"
    ),
    "espeak-ng-data/voices/!v/Mario": (
        "a94ac65d132030df496e8aa364d5cde5f2eafa4b6b3ae361a2901d512c6029d8"
    ),
    "espeak-ng-data/voices/!v/Michael": (
        "4409be23ef5fedf4c8bffbfaa8a802a342824d7e97f1d92938336a25f92f0ebe"
    ),
    "espeak-ng-data/voices/!v/adam": (
        "b21efbf56fd7d58470e7ce4759c6ef9f23949706b269f2d777832204658ee0dd"
    ),
    "espeak-ng-data/voices/!v/anika": (
        "228771ce84cad16a089e0b23efe2e69edf25f1ab7c0cb3a50d366ac70e82fbbd"
    ),
    "espeak-ng-data/voices/!v/antonio": (
        "c90477080cd9aa9c384770c0ec18901d01e9851f1bc7d15526a2565a3b0c4da5"
    ),
    "espeak-ng-data/voices/!v/aunty": (
        "0aede4d1ca614f32c348f3d728eab58322ccd016e8531234fdc3dfcf00e32bf1"
    ),
    "espeak-ng-data/voices/!v/belinda": (
        "9bd791b7115820e25ada82b4911134d5116e8238b4fd4d214dfccf162576141c"
    ),
    "espeak-ng-data/voices/!v/benjamin": (
        "3fa10b0d865fc751fd9c8ed1dabac4bb9b011ea2b95064d4d25a8c719f7785d8"
    ),
    "espeak-ng-data/voices/!v/boris": (
        "f23d0a6ee2eeb7e3340506d61d422b691fb04f4e98977ea15c1e0ee5715846d5"
    ),
    "espeak-ng-data/voices/!v/caleb": (
        "bcde145ec713eae6d3451a6f25dbbdc0b6756fd44e9e092b7aef89f2cff25be8"
    ),
    "espeak-ng-data/voices/!v/david": (
        "50b5cb5f61a50f5ff5299dd22e5d645446746dbc36909595f6ae47bac0bda9c3"
    ),
    "espeak-ng-data/voices/!v/ed": (
        "12ddb6355b40a2e39a3b6cef66a2bf4db15a25045769b330a9a3b344a608026d"
    ),
    "espeak-ng-data/voices/!v/f1": (
        "7cdef453c6b0391d50a02b8f35392e6f41249cea65df1021affd68a64917b85f"
    ),
    "espeak-ng-data/voices/!v/f2": (
        "62b17f6c8f94add0310db032f5e463c13510c5ff83ef1f21e8894ccbf00b00e3"
    ),
    "espeak-ng-data/voices/!v/f3": (
        "d0342ee8ceebe3047831774634d234e90281ec73ce2aed8dd0bdd915ccf500fc"
    ),
    "espeak-ng-data/voices/!v/f4": (
        "ff9e2907a818920e3b976232c90eabaf270fff0de0b8a479af9a3633e9b7921f"
    ),
    "espeak-ng-data/voices/!v/f5": (
        "6c76406d94540d59dee16de11520c37124a1f6dfc236981e483877075f0271b3"
    ),
    "espeak-ng-data/voices/!v/grandma": (
        "e033d57ba9b098971fdb995c13830f9c709206add081c586daaec323ff69a392"
    ),
    "espeak-ng-data/voices/!v/grandpa": (
        "f25627887b95e8bccac5e6ce99cb97c6e34290ff0bf919febe64a9987138796d"
    ),
    "espeak-ng-data/voices/!v/ian": (
        "c0722c7954d3e6582e3f5b3f584140675ab060ac3c6cac5dd11a74592db5550a"
    ),
    "espeak-ng-data/voices/!v/iven": (
        "10ab9de8365ff7bf5a20621d08f1a2019d4bf5521f3c6f65447c9256057406c8"
    ),
    "espeak-ng-data/voices/!v/john": (
        "bfbcc1cec33ef0581fdeb4955fbcd0d824a5d4be5493d731e4a2ef7f8f3ba670"
    ),
    "espeak-ng-data/voices/!v/klatt": (
        "9abb6d05d0ca354831c570e14323dd4e821459b53166d96395875a48bacdbde2"
    ),
    "espeak-ng-data/voices/!v/klatt2": (
        "afab662a55953532ff8d6f9c615b824ecec87f7aef6790a58c4ccbc4505a742a"
    ),
    "espeak-ng-data/voices/!v/klatt4": (
        "3459c15aa8fa7d7218ac34388dfc0833c850ffc923013949308c2f643f3daad2"
    ),
    "espeak-ng-data/voices/!v/linda": (
        "df06b4c29f5953034e7815ea7062e356917266f8fab576f76c036045525c8e28"
    ),
    "espeak-ng-data/voices/!v/m1": (
        "7f2de023bdfe18651d2d0453d2e7ff5e8ade9f094912a79247336ddc90fd7783"
    ),
    "espeak-ng-data/voices/!v/m2": (
        "6eb925eb6691621a6de66c87596c6ed879c80a04215a9a8437dffc28fcfa14dd"
    ),
    "espeak-ng-data/voices/!v/m3": (
        "7a4ac872387439814ddd65f5e1ff73017122975911df6b5dc62c5709e6fdb611"
    ),
    "espeak-ng-data/voices/!v/m4": (
        "6bef82cea3538da1246b7a2c203206e90155cbb4af86faa8ef03366c3119ceee"
    ),
    "espeak-ng-data/voices/!v/m5": (
        "08590ef7ce37630a6875d9cbe200dc473a9054b4184287808a4fd1c8e27dd02a"
    ),
    "espeak-ng-data/voices/!v/m6": (
        "fc0e01af458a96d43f55878010d3abcbbda85e846922b25361a78d27c3a9ca00"
    ),
    "espeak-ng-data/voices/!v/m7": (
        "bdfc54a3558ca98f9ca082479c5211034a824d8721db91804f9d77867db6fab3"
    ),
    "espeak-ng-data/voices/!v/m8": (
        "060130540e2fae5f8acfb19bcd4ef3dc5dc8f8d2134c502bb57af277fd4cc491"
    ),
    "espeak-ng-data/voices/!v/marcelo": (
        "3238a933a17c40c61cdd385c0e742bf54c42c008f4110d4b0353a6ae72a5d1a0"
    ),
    "espeak-ng-data/voices/!v/max": (
        "c88f70a60a19e76a6774dfbd7664be639b9aa8aa587c680834c305ffa434aaaf"
    ),
    "espeak-ng-data/voices/!v/miguel": (
        "9c8c2bbe9fba6d1f06eb63ee67d98d7ebb8846b2bf13847a9b359c90ba9fa8fe"
    ),
    "espeak-ng-data/voices/!v/norbert": (
        "35b9923e15caf36280542270282bd2392c6d86ef5db9a8be7be92ce2241a46cb"
    ),
    "espeak-ng-data/voices/!v/pablo": (
        "053a85c8a6d7e7a0f6432a3158fe73fa9accf06202e5d69c273d4e5bae8bafc8"
    ),
    "espeak-ng-data/voices/!v/paul": (
        "75fb8098bea28859513de6ce033092307382d6f20455e71b051193dfc0793d5e"
    ),
    "espeak-ng-data/voices/!v/quincy": (
        "e9945bee7b4f3240221866f497bf2511a886ed7702d8389688a03c2ea120caf0"
    ),
    "espeak-ng-data/voices/!v/rob": (
        "fbfffcdb0afb2e3b70f886c02282feae22509d77fe6e7103daf907f7a356595d"
    ),
    "espeak-ng-data/voices/!v/robert": (
        "72604f85afe5bb52a5ce7e3427b196e1e3e426a14a64e2d93b6617e248a46417"
    ),
    "espeak-ng-data/voices/!v/sandro": (
        "1b8c36a3ce35a27cbbabf4679df0264cd37f4c79b66aa1f4c310eb31b9c80490"
    ),
    "espeak-ng-data/voices/!v/shelby": (
        "5e96565045bcdd5b42e7ad0eab2bbd670c67cf5c9e3f2ac6b50b30580fb92be4"
    ),
    "espeak-ng-data/voices/!v/steph": (
        "78186aeddce4c449348f368046b2665375b1a492e948d739249b0c964f082861"
    ),
    "espeak-ng-data/voices/!v/travis": (
        "7d5a34be05778ee850d97b0491a62db7683c058d660ff2afc71c08c87360f30d"
    ),
    "espeak-ng-data/voices/!v/victor": (
        "a880a8083ac5eaadf94f71c63b51f34c1426d4bfe0a26f6761ddec5c6e9a5c76"
    ),
}

ASTERISK: Mapping[str, str] = {
    "digits/0.wav": "62debe1daf11756460c0de78d0e1ac7fe28b12fb51a30df3364ce74b90f05d31",
    "digits/1.wav": "fb38aca5558d50f7bd4d7986adeea19b97eba894c574fc92acc3b33b480eb701",
    "digits/2.wav": "6ef0a6b67a1741e950c491ef664bbfb424b63fab314d616d6f0e467cc0838dee",
    "digits/3.wav": "4ec0371d15f721c61be36fe6ca54d0de29d9b9a48062634969556c50ff81faed",
    "digits/4.wav": "f1c007fbd2eefa235ea10260b79527b89b88f6d2182008e86221572ad92f204f",
    "digits/5.wav": "412b4b7729a8bae7b2b13ad8af9f6989abba8a4b9d5fc1c499b13a3b986653a5",
    "digits/6.wav": "89c80e3c120f90112159d911568d2ca4a13f369a864ee26e882802385fab2474",
    "digits/7.wav": "125c9acb8b5b6549079233c922782bfdf585d8c438906467921329669c6939fe",
    "digits/8.wav": "854114f9f3bb94d36490b2951957a662e75212648a5e2330f1f3c56184d30488",
    "digits/9.wav": "535d4117923ad8bac20185eb0746b421479ddec4f4acd2329285096a573d6e34",
    "digits/star.wav": "9d7df352e97d4b7eac9c2dedeb2e46c22526a657b6bc0e454a7fe686a88e1e7f",
    "digits/pound.wav": "091ff53c615d608ba07047cca00ab26eb52cc565a4f9067282cb962de84e66e2",
    "phonetic/a_p.wav": "d4a5b1c094b0609fd53e0d22cb976c39d630bd35ed8e6f60d7e69b8ccab23406",
    "phonetic/b_p.wav": "a3efdda6fe4253be00d23020fb9d46813fb11bf0b9a4c486b6ac5fec64eb9415",
    "phonetic/c_p.wav": "9bf56b2268621d53fd49fd1b422e369aa9209028107313f063e6628e4a06aa04",
    "phonetic/d_p.wav": "b8ee6c5fd5a54baee66aebf73617ef0d67ba4223a973273e1f317070e337b960",
    "phonetic/e_p.wav": "9fe1a1e12b23bec40aa57a706c40d1c0ea070baf2ddc1d5a5065d4fac33224e5",
    "phonetic/f_p.wav": "fe4295636b230758de833d0b9ddfc1b0e7140ac3456ee64f8555b62d71143400",
    "phonetic/g_p.wav": "21275ed87ed033defa54941be1d814037bcf4501d90e412f0cd4cb5932b0ab8c",
    "phonetic/h_p.wav": "5f02a5818424c151e813057867abdf82b598afad5b00785bce6a60fb28be0e06",
    "phonetic/i_p.wav": "3dcdce481ed76a06af94f8d3a45d16a1374454f27f48cddd9fd195fafc805975",
    "phonetic/j_p.wav": "5a67c580e470d5f9c2644ddafb9a950b31d4dbe4266fe5ac8734188ece5a32a6",
    "phonetic/k_p.wav": "06420b6e0f24d46d1b6712046442c8dbff7ec9956972d337451e9dfbab8e7d87",
    "phonetic/l_p.wav": "63234a4d2d55bfbe36f4a9b638ec6cf7345e7471184bd237917bc8400f8c5f0c",
    "phonetic/m_p.wav": "6c9031527a84caef5a7ec2922dc62ad6838f1d9fbfd565ccbb4903bd8042c214",
    "phonetic/n_p.wav": "0db502797bbfa9598a4e91be07aa78bccf5daa0fe9c42c574a0944c70f6acedc",
    "phonetic/o_p.wav": "4b7ae147ca1822282723b3172d2fcaa1a7e52bd93f93f5c34beb9b1c4234921a",
    "phonetic/p_p.wav": "345f33099ce8511b094cc3fa16f927c7acc6e245905944f49d4ffc16f9f99c84",
    "phonetic/q_p.wav": "69e046dd8f3b8a3a4ba21b5cef25f3552d4680aa12e3087ea2065f05f6207273",
    "phonetic/r_p.wav": "d2d6dbfec783cda0e2efc63aa8fd4ffa61c6d207bd020be955499a43bc0c82d6",
    "phonetic/s_p.wav": "8736adf46067c3555d4ff458daa089ca20e118f23e06ed6b246fbfab97256e6b",
    "phonetic/t_p.wav": "f9167c3cddbb3b3654b1fdfefe55903d5ca211a5bd193c471745e40480c8c175",
    "phonetic/u_p.wav": "d303bbea4f7ec42daacb20d742cadc4faeeb924ed824239b31db422edb8ad49c",
    "phonetic/v_p.wav": "2c17c288793454d1e8e1be609d34d7302ddeb2540e257a55666a4ee69377bca9",
    "phonetic/w_p.wav": "03f581c25ea6581d90e37e216cc882f9c6055697dc43c44c7c12ab11a3071d44",
    "phonetic/x_p.wav": "d9ebedd136219e303e5c444dc0295406ebcbdd72c13b50276cdbb96000b31ec9",
    "phonetic/y_p.wav": "9d03fe3985e944d845d8e5a75adcd70f0a597c2cb28de0b4c19adec8a03a7375",
    "phonetic/z_p.wav": "83f5b13652ce445d87ba79458cfcad75d394ab453b27a352cbd940f18535983d",
}
