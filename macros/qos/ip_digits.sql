{#- The digits of a host: null where it is no address. -#}
{%- macro ip_digits(host, dotted) -%}
transform(array({{ host }}), host ->
    case
        when host rlike '^{{ dotted }}$' then {{ ip_octets('host') }}
        when host like '%:%'
            then
                transform(array(
                    -- the last 32 bits may be written as IPv4
                    case
                        when host rlike ':{{ dotted }}$'
                            then
                                concat(
                                    regexp_extract(host, '^(.*:)[^:]*$', 1),
                                    regexp_replace(
                                        {{ ip_octets("substring_index(host, ':', -1)") }},
                                        '^(....)', '$1:'
                                    )
                                )
                        else host
                    end
                ), host ->
                    case
                        when
                            host rlike '^[0-9a-f:]+$'
                            and not host rlike '[0-9a-f]{5}|:::|::.*::|^:[^:]|[^:]:$'
                            then
                                transform(array(struct(
                                    filter(
                                        split(substring_index(host, '::', 1), ':'), part -> part <> ''
                                    ) as head,
                                    case
                                        when host like '%::%'
                                            then
                                                filter(
                                                    split(substring_index(host, '::', -1), ':'),
                                                    part -> part <> ''
                                                )
                                        else array()
                                    end as tail
                                )), parts ->
                                    case
                                        when
                                            size(parts.head) + size(parts.tail)
                                            <= if(host like '%::%', 7, 8)
                                            and (
                                                host like '%::%'
                                                or size(parts.head) = 8
                                            )
                                            then
                                                array_join(
                                                    transform(
                                                        concat(
                                                            parts.head,
                                                            array_repeat(
                                                                '0',
                                                                8 - size(parts.head)
                                                                - size(parts.tail)
                                                            ),
                                                            parts.tail
                                                        ),
                                                        part -> lpad(part, 4, '0')
                                                    ),
                                                    ''
                                                )
                                    end
                                )[0]
                    end
                )[0]
    end
)[0]
{%- endmacro -%}
